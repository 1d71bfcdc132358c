"""Resizing on the device by two matrix products: by averaging areas as cv2.INTER_AREA does, or bilinear as cv2.INTER_LINEAR."""

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

DROPPED: Final = 1e-3
"""OpenCV leaves out a pixel of which an area covers no more than this."""
KEPT_WEIGHTS: Final = 2**20
"""Weights that are kept for the next picture of the same size, at most; larger ones are made anew."""


def area_weights(source: int, target: int, device: torch.device) -> Tensor:
    """(target, source) float32: how much of each of `source` pixels lies in each of `target` equal areas; rows sum to 1."""
    step = source / target
    left = torch.arange(target, device=device, dtype=torch.float64)[:, None] * step
    pixel = torch.arange(source, device=device, dtype=torch.float64)
    covered = torch.minimum(pixel + 1, left + step) - torch.maximum(pixel, left)
    covered = torch.where(covered > DROPPED, covered, 0.0)
    return (covered / covered.sum(1, keepdim=True)).float()


def linear_weights(source: int, target: int, device: torch.device) -> Tensor:
    """(target, source) float32: bilinear interpolation between pixel centres, the border repeated."""
    middle = (torch.arange(target, device=device, dtype=torch.float64)[:, None] + 0.5) * (source / target) - 0.5
    pixel = torch.arange(source, device=device, dtype=torch.float64)
    return (1 - (middle.clamp(0, source - 1) - pixel).abs()).clamp(min=0).float()


def resized(pictures: Tensor, height: int, width: int, *, shrink: bool) -> Tensor:
    """(B, 3, H, W) float32 of whole grey levels -> (B, 3, height, width) of whole grey levels, float32.

    shrink: by averaging areas; else bilinear. TF32 must be off, as it is in torch unless somebody turns it on.
    """
    rows, columns = pictures.shape[-2:]
    if (rows, columns) == (height, width):
        return pictures
    down = _weights(rows, height, shrink, pictures.device)
    across = _weights(columns, width, shrink, pictures.device)
    mean = torch.matmul(torch.matmul(down, pictures), across.T)
    return whole(mean, half_up=shrink and rows == 2 * height and columns == 2 * width)


def whole(levels: Tensor, *, half_up: bool) -> Tensor:
    """The nearest grey level as OpenCV rounds: halves to the even one, but upwards (`half_up`) where four pixels become one."""
    return ((levels + 0.5).floor() if half_up else levels.round()).clamp_(0, 255)


def _weights(source: int, target: int, shrink: bool, device: torch.device) -> Tensor:
    make = _kept if source * target <= KEPT_WEIGHTS else _made
    return make(source, target, shrink, device)


def _made(source: int, target: int, shrink: bool, device: torch.device) -> Tensor:
    return area_weights(source, target, device) if shrink else linear_weights(source, target, device)


_kept = lru_cache(maxsize=128)(_made)
