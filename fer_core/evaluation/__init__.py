"""Predictions against truth: accuracy, F1 and calibration with intervals, robustness under corruption, and their plots.

In: a model and a face set. Out: plain figures and PNG files. Next: `training` and the model card report them.
"""
