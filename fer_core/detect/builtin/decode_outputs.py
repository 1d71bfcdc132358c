"""Decodes a DetectionNet's raw outputs, only where a face may be: a thousandth of all places."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.config import LARGEST, NUMBERS, STRIDES
from fer_core.errors import DetectorError

Levels = Sequence[NDArray[np.float32]]
"""(B, 15, h, w) of each of `STRIDES`, finest first; see `DetectionNet.levels`."""
Rows = NDArray[np.float32]
"""(N, 15) box x0, y0, x1, y1, five points, score."""

CERTAIN: Final = 30.0
"""Logits are clipped to it: the score is 1 to seven digits, and `exp` stays finite."""


def finite(levels: Levels) -> Levels:
    """The same. DetectorError where a number is not finite: no picture gives such, and its place would count as one without a face."""
    if not all(np.isfinite(numbers).all() for numbers in levels):
        raise DetectorError("the detector's outputs are not finite numbers: its weights are unusable")
    return levels


def rows_from(levels: Levels, lowest: float) -> tuple[Rows, NDArray[np.intp]]:
    """Detections with a score of at least `lowest`, each row in its own picture's pixels, and the number of its picture in the batch.

    By picture, then finest level first, row by row. As `network._places` computes them.
    """
    flat = np.concatenate([numbers.reshape(len(numbers), NUMBERS, -1) for numbers in levels], axis=2)
    pictures, places = np.nonzero(flat[:, 0] >= _logit(lowest) - 1e-3)  # without an exponential at every place
    said = flat[pictures, :, places]
    scores = 1 / (1 + np.exp(-np.clip(said[:, :1], -CERTAIN, CERTAIN)))
    centres, strides = _grids(tuple(numbers.shape[2:] for numbers in levels))
    centre, stride = centres[places], strides[places]
    middle = centre + said[:, 1:3] * stride
    half = np.exp(np.minimum(said[:, 3:5], np.float32(LARGEST))) * stride / 2
    rows = np.concatenate([middle - half, middle + half, np.tile(centre, 5) + said[:, 5:] * stride, scores], axis=1, dtype=np.float32)
    kept = scores[:, 0] >= lowest
    return rows[kept], pictures[kept]


@lru_cache(maxsize=64)
def _grids(shapes: tuple[tuple[int, ...], ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, 2) positions of the places of all levels, in pixels, and (N, 1) the stride of their level."""
    centres, strides = [], []
    for (height, width), stride in zip(shapes, STRIDES, strict=True):
        y, x = np.divmod(np.arange(height * width), width)
        centres.append((np.stack([x, y], 1).astype(np.float32) + np.float32(0.5)) * np.float32(stride))
        strides.append(np.full((height * width, 1), stride, np.float32))
    return np.concatenate(centres), np.concatenate(strides)


def _logit(score: float) -> float:
    return float(np.log(score / (1 - score))) if 0 < score < 1 else (np.inf if score >= 1 else -np.inf)
