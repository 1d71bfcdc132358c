"""Kept crops -> labels by another model, without the images.

In: a labels root whose runs kept crops. Out: a committed run with new labels, and what they changed.
"""
