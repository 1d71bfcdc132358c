"""Sampling positions of cv2.warpAffine: to a 32nd of a pixel, in its own fixed-point steps, so that crops and cut-outs are those of the
reference.

Exact positions would be as good, but crops that differ by a grey level change some confidences by more than a hundredth.
"""

from typing import Final

import torch
from torch import Tensor

FINE: Final = 1024.0
"""Steps a pixel in which OpenCV 4 adds up rows and columns (`AB_SCALE`)."""
KEPT: Final = 32.0
"""Steps a pixel of the sum that remain (`INTER_TAB_SIZE`)."""


def sampling_grid(inverse: Tensor, side: int) -> Tensor:
    """(T, 2, 3) float64 from the result to the source -> (T, side, side, 2) x, y of the source for every pixel of the result."""
    step = torch.arange(side, device=inverse.device, dtype=torch.float64)
    across = (inverse[:, :, 0, None] * step * FINE).round()  # (T, 2, side)
    down = ((inverse[:, :, 1, None] * step + inverse[:, :, 2, None]) * FINE).round() + FINE / KEPT / 2
    total = down[:, :, :, None] + across[:, :, None, :]
    return ((total * (KEPT / FINE)).floor() / KEPT).permute(0, 2, 3, 1)


def nearest_level(levels: Tensor) -> Tensor:
    """Rounding of OpenCV's fixed-point interpolation: halves upwards."""
    return (levels + 0.5).floor().clamp(0, 255)
