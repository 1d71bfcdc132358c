"""Slices of the labels that have become less sure: faces of one kind whose confidence fell on the newest day."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.review.candidates import Candidates

SIZES_PX: Final = (24.0, 48.0, 96.0, 192.0)
SHARPNESSES: Final = (0.3, 0.6)
"""Where the slices of face size and of sharpness end."""
ENOUGH: Final = 30
"""Faces that a slice needs on either side to count."""
LARGEST_FALL: Final = 0.1
"""A fall of the mean confidence by so much, or more, counts in full."""


def drifted(faces: Candidates) -> NDArray[np.float64]:
    """(N,) in [0, 1]: how far the mean confidence of a face's slice fell, for faces labelled on the newest day of their model.

    A slice is model x detector x face size x sharpness. Reference are the slice's faces of earlier days; with fewer than `ENOUGH` faces on
    either side it is 0, and so it is for the faces of the reference.
    """
    fell = np.zeros(len(faces))
    if not len(faces):
        return fell
    newest = np.full(int(faces.model.max()) + 1, np.iinfo(np.int64).min)
    np.maximum.at(newest, faces.model, faces.day)
    recent = faces.day == newest[faces.model]
    size, sharp = np.digitize(faces.size_px, SIZES_PX), np.digitize(faces.sharpness, SHARPNESSES)
    _, number = np.unique(np.stack([faces.model, faces.detector, size, sharp]), axis=1, return_inverse=True)
    number = number.reshape(-1)
    confidence = faces.probabilities.max(axis=1)
    before, after = (_mean(number, confidence, side) for side in (~recent, recent))
    fall = np.nan_to_num(np.clip((before - after) / LARGEST_FALL, 0, 1))
    return np.where(recent, fall[number], fell)


def _mean(number: NDArray[np.intp], confidence: NDArray[np.float64], side: NDArray[np.bool_]) -> NDArray[np.float64]:
    """By slice; not a number where there are too few faces."""
    slices = int(number.max()) + 1
    count = np.bincount(number[side], minlength=slices)
    total = np.bincount(number[side], confidence[side], minlength=slices)
    return np.where(count >= ENOUGH, total / np.maximum(count, 1), np.nan)
