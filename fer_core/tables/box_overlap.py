"""How far face boxes overlap: what says that two boxes of one image show the same face."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SAME_FACE: Final = 0.5
"""Boxes that overlap at least so much (intersection over union) show the same face."""


def iou(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Intersection over union of boxes (M, 4) and (N, 4), each x, y, width, height in pixels -> (M, N) in [0, 1]."""
    a, b = one.astype(np.float64)[:, None], other.astype(np.float64)[None]
    near = np.maximum(a[..., :2], b[..., :2])
    far = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    shared = np.prod(np.maximum(far - near, 0), axis=-1)
    union = np.prod(a[..., 2:], axis=-1) + np.prod(b[..., 2:], axis=-1) - shared
    return np.asarray(shared / np.maximum(union, 1e-12), np.float64)
