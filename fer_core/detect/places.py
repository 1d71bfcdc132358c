"""What a DetectionNet's raw numbers say, read only where a face may be: a thousandth of all places."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.detection_config import LARGEST, NUMBERS, STRIDES

Levels = Sequence[NDArray[np.float32]]
"""(B, 15, h, w) of each of `STRIDES`, finest first; see `DetectionNet.levels`."""
Rows = NDArray[np.float32]
"""(N, 15) box x0, y0, x1, y1, five points, score."""

CERTAIN: Final = 30.0
"""Logits beyond it are taken for it: the score is 1 to seven digits, and `exp` stays finite."""


def rows_from(levels: Levels, index: int, lowest: float) -> Rows:
    """What is seen in one picture of a batch at places whose score is at least `lowest`, in its pixels; finest level first, row by row."""
    return np.concatenate([_read(numbers[index], stride, lowest) for numbers, stride in zip(levels, STRIDES, strict=True)])


def _read(numbers: NDArray[np.float32], stride: int, lowest: float) -> Rows:
    """(15, h, w) of a level -> (N, 15). As `detection_net._places` computes them."""
    width = numbers.shape[2]
    flat = numbers.reshape(NUMBERS, -1)
    near = np.flatnonzero(flat[0] >= _logit(lowest) - 1e-3)  # without an exponential at every place
    scores = 1 / (1 + np.exp(-np.clip(flat[0, near], -CERTAIN, CERTAIN)))
    kept = near[scores >= lowest]
    said = flat[:, kept].T
    centres = (np.stack([kept % width, kept // width], 1).astype(np.float32) + np.float32(0.5)) * np.float32(stride)
    middle = centres + said[:, 1:3] * np.float32(stride)
    half = np.exp(np.minimum(said[:, 3:5], np.float32(LARGEST))) * np.float32(stride / 2)
    points = np.tile(centres, 5) + said[:, 5:] * np.float32(stride)
    return np.concatenate([middle - half, middle + half, points, scores[scores >= lowest, None]], axis=1).astype(np.float32)


def _logit(score: float) -> float:
    return float(np.log(score / (1 - score))) if 0 < score < 1 else (np.inf if score >= 1 else -np.inf)
