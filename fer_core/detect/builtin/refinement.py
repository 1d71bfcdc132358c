"""Refinement: two more passes of the network over each candidate, cut out and resized.

The first one confirms: what is no face at another size, without its surroundings, is not found again. The score becomes the geometric mean
of both. The second one places: it has more pixels, and only the confirmed faces pass it. Box and points become the mean of all passes.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import iou
from fer_core.detect.builtin.decode_outputs import Rows, rows_from
from fer_core.detect.builtin.runtime import DetectorRuntime


@dataclass(frozen=True, slots=True)
class CutSize:
    """Sizes of a cut-out, in its pixels. Tight ones tell faces from other things better than wide ones."""

    side: int
    face: int
    """Side (square root of the area) of the resized face in the middle of it."""


CONFIRMING: Final = CutSize(64, 60)
PLACING: Final = CutSize(96, 80)
"""Both chosen on AFW, HELEN and the eleven WIDER photographs, with the thresholds."""
SAME_FACE: Final = 0.4
"""Overlap from which detections of the two passes are the same face."""
SEEN: Final = 0.1
"""Score from which a face counts as found again."""
BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class _Cut:
    """The surroundings of one face."""

    pixels: NDArray[np.uint8]
    """(side, side, 3) RGB."""
    scale: float
    """Pixels of the cut-out a pixel of the picture."""
    centre: NDArray[np.float64]
    """(2,) of the box, in the picture, which lies in the middle of the cut-out."""


def refine_detections(runtime: DetectorRuntime, pixels: NDArray[np.uint8], rows: Rows, min_score: float) -> Rows:
    """(H, W, 3) RGB and the detections of the first pass, (K, 15) in its pixels -> the same rows, in the same order, after all passes.

    min_score: rows whose score is below it after the confirming pass do not take part in the placing one. The score of a row that is not
    found again is 0, and its box and points stay.
    """
    again = _found_again(runtime, pixels, rows, CONFIRMING)
    out = np.where(again[:, 14:] > 0, (rows + again) / 2, rows)
    out[:, 14] = np.sqrt(rows[:, 14] * again[:, 14])
    sure = np.flatnonzero((out[:, 14] >= min_score) & (again[:, 14] > 0))
    placed = _found_again(runtime, pixels, np.asarray(out[sure], np.float32), PLACING)
    seen = placed[:, 14] > 0
    out[sure[seen], :14] = (2 * out[sure[seen], :14] + placed[seen, :14]) / 3
    return np.asarray(out, np.float32)


def _found_again(runtime: DetectorRuntime, pixels: NDArray[np.uint8], rows: Rows, size: CutSize) -> NDArray[np.float64]:
    """(K, 15) detections -> the best detection of the same face in each one's cut-out, in the picture's pixels, or zeros."""
    out = np.zeros((len(rows), 15))
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        cuts = [_cut(pixels, row[:4].astype(np.float64), size) for row in part]
        found, faces = rows_from(runtime([cut.pixels for cut in cuts]), SEEN)
        placed = found.astype(np.float64)
        scales, centres = np.array([[cut.scale] for cut in cuts]), np.stack([np.tile(cut.centre, 7) for cut in cuts])
        placed[:, :14] = (placed[:, :14] - size.side / 2) / scales[faces] + centres[faces]
        same = iou(part[faces, :4].astype(np.float64), placed[:, :4]) >= SAME_FACE
        placed, faces = placed[same], faces[same]
        order = np.lexsort((-placed[:, 14], faces))  # the best of each face comes first
        seen, first = np.unique(faces[order], return_index=True)
        out[start + seen] = placed[order[first]]
    return out


def _cut(pixels: NDArray[np.uint8], box: NDArray[np.float64], size: CutSize) -> _Cut:
    """Grey where the picture ends. Large faces are shrunk by averaging areas first, so that the bilinear warp does not alias."""
    side = size.side
    (height, width), (x0, y0, x1, y1) = pixels.shape[:2], box.tolist()
    centre = ((x0 + x1) / 2, (y0 + y1) / 2)
    scale = size.face / max(1.0, math.sqrt((x1 - x0) * (y1 - y0)))
    reach = side / 2 / scale + 2
    low = [min(max(math.floor(middle - reach), 0), length - 1) for middle, length in zip(centre, (width, height), strict=True)]
    ends = zip(centre, (width, height), low, strict=True)
    high = [max(min(max(math.ceil(middle + reach), 1), length), start + 1) for middle, length, start in ends]
    near = pixels[low[1] : high[1], low[0] : high[0]]
    factor = max(1, int(1 / scale))
    if factor > 1:
        smaller = (max(1, near.shape[1] // factor), max(1, near.shape[0] // factor))
        shrunk = np.asarray(cv2.resize(near, smaller, interpolation=cv2.INTER_AREA), np.uint8)
    else:
        shrunk = np.ascontiguousarray(near)
    gains = [scale * whole / kept for whole, kept in zip(near.shape[1::-1], shrunk.shape[1::-1], strict=True)]
    # pixel edges -> pixel centres
    shifts = [side / 2 + (start - middle) * scale + gain / 2 - 0.5 for start, middle, gain in zip(low, centre, gains, strict=True)]
    matrix = np.array([[gains[0], 0, shifts[0]], [0, gains[1], shifts[1]]])
    cut = cv2.warpAffine(shrunk, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(128, 128, 128))
    return _Cut(np.asarray(cut, np.uint8), scale, np.array(centre))
