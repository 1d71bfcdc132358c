"""Figures of parts of the faces: where a model does worse than its mean says."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.confusion import confusion_figures, confusion_matrix
from fer_core.evaluation.intervals import bootstrap_intervals, wilson
from fer_core.models.calibration import expected_calibration_error

SIZES_PX: Final = (24.0, 48.0, 96.0, 192.0)
SHARPNESSES: Final = (0.3, 0.6)
TURNS_DEG: Final = (20.0, 40.0, 60.0)
"""Where slices of face size, of sharpness and of the turn to a side (yaw, either way) end."""
GREY_LEVELS: Final = 2.0
"""Mean spread of the three channels up to which a crop is grey."""


@dataclass(frozen=True, slots=True, eq=False)
class Slicing:
    """A division of N faces by one property."""

    by: str
    names: tuple[str, ...]
    number: NDArray[np.intp]
    """(N,) which of `names` each face belongs to."""


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """One part of the faces. Intervals are of 95 %: Wilson's for share and accuracy, by the bootstrap over faces for the others."""

    by: str
    slice: str
    faces: int
    share: float
    """Of all faces."""
    accuracy: float
    balanced_accuracy: float
    ece: float
    intervals: dict[str, tuple[float, float]]
    """Of share, accuracy, balanced_accuracy and ece."""


def by_edges(by: str, unit: str, values: NDArray[np.floating], edges: Sequence[float]) -> Slicing:
    """(N,) values -> parts below, between and from `edges` on, in `unit`. What is not a number is the part `unknown`."""
    ends = [f"{edge:g}" for edge in edges]
    names = [f"below {ends[0]}{unit}", *(f"{a} to {b}{unit}" for a, b in pairwise(ends)), f"{ends[-1]}{unit} and above"]
    number = np.where(np.isnan(values), len(names), np.digitize(values, edges))
    return Slicing(by, (*names, "unknown"), number.astype(np.intp))


def quality_slicings(size_px: NDArray[np.floating], sharpness: NDArray[np.floating], yaw_deg: NDArray[np.floating]) -> tuple[Slicing, ...]:
    """(N,) columns of the `labels` table -> by face size, sharpness and turn."""
    return (
        by_edges("face size", " px", size_px, SIZES_PX),
        by_edges("sharpness", "", sharpness, SHARPNESSES),
        by_edges("turn", " deg", np.abs(yaw_deg), TURNS_DEG),
    )


def crop_slicings(crops: NDArray[np.uint8]) -> tuple[Slicing, ...]:
    """(N, 112, 112[, 3]) aligned faces -> by sharpness and colour, which is what a crop shows of its picture.

    The sharpness is that of the crop, at its own resolution: a small face that was enlarged is blurred.
    """
    from fer_core.align.aligner import TEMPLATE
    from fer_core.align.quality import sharpness

    coloured = crops if crops.ndim == 4 else np.broadcast_to(crops[..., None], (*crops.shape, 3))
    sharp = np.array([sharpness(np.ascontiguousarray(crop), TEMPLATE) for crop in coloured], np.float32)
    spread = [0.0] * len(crops) if crops.ndim == 3 else [float((crop.max(axis=2) - crop.min(axis=2)).mean()) for crop in crops]
    colour = np.array([value > GREY_LEVELS for value in spread], np.intp)
    return by_edges("sharpness of the crop", "", sharp, SHARPNESSES), Slicing("colour", ("grey", "coloured"), colour)


def slice_figures(
    probabilities: NDArray[np.float64], truth: NDArray[np.int64], slicings: Sequence[Slicing], seed: int = 0
) -> tuple[SliceFigures, ...]:
    """(N, K) probabilities and (N,) true classes -> figures of each part that has faces, in the order of the slicings and their names."""
    return tuple(figures for slicing in slicings for figures in _parts(probabilities, truth, slicing, seed))


def _parts(probabilities: NDArray[np.float64], truth: NDArray[np.int64], slicing: Slicing, seed: int) -> Iterator[SliceFigures]:
    for number, name in enumerate(slicing.names):
        inside = np.flatnonzero(slicing.number == number)
        if len(inside):
            yield _figures(slicing.by, name, len(truth), probabilities[inside], truth[inside], seed)


def _figures(  # noqa: PLR0917  (a table of plain values)
    by: str, name: str, everything: int, probabilities: NDArray[np.float64], truth: NDArray[np.int64], seed: int
) -> SliceFigures:
    said, faces = probabilities.argmax(axis=1), len(truth)
    seen = confusion_figures(confusion_matrix(truth, said, probabilities.shape[1]))
    drawn = bootstrap_intervals(probabilities, truth, seed)
    low, high = wilson(np.array([faces, int((said == truth).sum())]), np.array([everything, faces]))
    intervals = {
        "share": (float(low[0]), float(high[0])),
        "accuracy": (float(low[1]), float(high[1])),
        "balanced_accuracy": drawn["balanced_accuracy"],
        "ece": drawn["ece"],
    }
    ece = expected_calibration_error(probabilities, truth)
    return SliceFigures(by, name, faces, faces / everything, seen.accuracy, seen.balanced_accuracy, ece, intervals)
