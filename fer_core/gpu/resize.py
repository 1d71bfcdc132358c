"""Resizing on the device: by averaging areas as cv2.INTER_AREA does, in two matrix products, and bilinear as cv2.INTER_LINEAR does."""

from functools import lru_cache
from typing import Final

import torch
from torch import Tensor

DROPPED: Final = 1e-3
"""OpenCV leaves out a pixel of which an area covers no more than this."""
LINEAR: Final = 2048
"""Steps of a bilinear weight in OpenCV."""
KEPT_WEIGHTS: Final = 2**20
"""Most weights that are cached for the next picture of the same size; larger ones are computed again."""


def area_weights(source: int, target: int, device: torch.device) -> Tensor:
    """(target, source) float32: share of each of `source` pixels in each of `target` equal areas; rows sum to 1."""
    step = source / target
    left = torch.arange(target, device=device, dtype=torch.float64)[:, None] * step
    pixel = torch.arange(source, device=device, dtype=torch.float64)
    covered = torch.minimum(pixel + 1, left + step) - torch.maximum(pixel, left)
    covered = torch.where(covered > DROPPED, covered, 0.0)
    return (covered / covered.sum(1, keepdim=True)).float()


def downsample_to(pictures: Tensor, height: int, width: int) -> Tensor:
    """(B, 3, H, W) float32 of whole grey levels -> (B, 3, height, width), no larger, by averaging areas.

    TF32 must be off, which is torch's default.
    """
    rows, columns = pictures.shape[-2:]
    if (rows, columns) == (height, width):
        return pictures
    down, across = _weights(rows, height, pictures.device), _weights(columns, width, pictures.device)
    mean = torch.matmul(torch.matmul(down, pictures), across.T)
    return whole(mean, half_up=rows == 2 * height and columns == 2 * width)


def bilinear_to(pictures: Tensor, height: int, width: int) -> Tensor:
    """(B, 3, H, W) float32 of whole grey levels -> (B, 3, height, width), bilinear, the border repeated.

    In OpenCV's whole numbers, which cut off as many bits as fit 16 between rows and columns: a quarter of the pixels would be a level off.
    """
    left, right, near, far = _taps(pictures.shape[3], width, pictures.device)
    levels = pictures.int()
    rows = (levels[..., left] * near + levels[..., right] * far) >> 4
    upper, lower, near, far = _taps(pictures.shape[2], height, pictures.device)
    above, below = (near[:, None] * rows[:, :, upper]) >> 16, (far[:, None] * rows[:, :, lower]) >> 16
    return ((above + below + 2) >> 2).float()


def _taps(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(target,) each: the pixel before and the one behind, and their weights in 2048ths."""
    middle = ((torch.arange(target, device=device, dtype=torch.float64) + 0.5) * (source / target) - 0.5).float()
    before = middle.floor()
    share = torch.where((before >= 0) & (before < source - 1), middle - before, 0.0)
    before = before.long().clamp(0, source - 1)
    near, far = ((1 - share) * LINEAR).round().int(), (share * LINEAR).round().int()
    return before, (before + 1).clamp(max=source - 1), near, far


def whole(levels: Tensor, *, half_up: bool) -> Tensor:
    """The nearest grey level as OpenCV rounds: halves to the even one, but upwards (`half_up`) where four pixels become one."""
    return ((levels + 0.5).floor() if half_up else levels.round()).clamp_(0, 255)


def _weights(source: int, target: int, device: torch.device) -> Tensor:
    return (_kept if source * target <= KEPT_WEIGHTS else area_weights)(source, target, device)


_kept = lru_cache(maxsize=128)(area_weights)
