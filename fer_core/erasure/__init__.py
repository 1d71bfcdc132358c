"""What a labels root holds about an image or a face: where it is named, and its removal.

In: an address, a digest or a face id. `named` finds what it stands for, `places` where that is stored, `forget` removes it and denies it
to later runs. Out: a list of places, or an audit record.
"""
