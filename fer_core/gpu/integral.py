"""Summed-area tables (Crow, SIGGRAPH 1984) of all pictures of a batch: the mean of any rectangle costs the same, however large it is.

The number of picture pixels for one pixel of a cut-out is known on the device alone, so a filter of fixed size is not possible.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from fer_core.gpu.plan import Group
from fer_core.gpu.resize import whole

SUMS = torch.float64
"""Whole numbers up to 2^53 are exact in it, in any order of summation; 100 million pixels come to 2^35."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """All pictures of a batch on the device, of any sizes, one after another."""

    pixels: Tensor
    """(sum of H * W, 3) RGB uint8."""
    sums: Tensor
    """(sum of (H + 1) * (W + 1), 3): of all pixels above and to the left."""
    starts: Tensor
    """(P,) int64: where each picture begins in `pixels`."""
    sum_starts: Tensor
    """(P,) int64: where it begins in `sums`."""
    sizes: Tensor
    """(P, 2) int64 height, width."""

    @classmethod
    def of(cls, pixels: Tensor, groups: Sequence[Group], sizes: Tensor) -> Self:
        """pixels: (sum of H * W, 3) in the order of the groups; sizes: (P, 2) int64."""
        sums, start = [], 0
        for group in groups:
            area = group.count * group.height * group.width
            part = pixels[start : start + area].view(group.count, group.height, group.width, 3)
            total = part.new_zeros((group.count, group.height + 1, group.width + 1, 3), dtype=SUMS)
            torch.cumsum(part.cumsum(1, dtype=SUMS), 2, out=total[:, 1:, 1:])
            sums.append(total.view(-1, 3))
            start += area
        return cls(pixels, torch.cat(sums), _starts(sizes[:, 0] * sizes[:, 1]), _starts((sizes + 1).prod(1)), sizes)


@dataclass(frozen=True, slots=True)
class Windows:
    """Rectangles of pictures, T of them, and the sizes that they are shrunk to."""

    picture: Tensor
    """(T,) int64."""
    low: Tensor
    """(T, 2) int64 x, y of the first pixel."""
    high: Tensor
    """(T, 2) int64 x, y behind the last pixel."""
    size: Tensor
    """(T, 2) int64 columns, rows after shrinking."""

    @property
    def shrink(self) -> Tensor:
        """(T, 2) float64: pixels of the picture that a shrunk pixel is wide and high."""
        return (self.high - self.low).double() / self.size.double()


def area_downsample(pictures: Pictures, windows: Windows, capacity: int) -> Tensor:
    """(T, 3, capacity, capacity) float32 of whole grey levels: each window as cv2.INTER_AREA shrinks it, in the upper left corner.

    capacity: most columns or rows after shrinking. What lies beyond a window's size is zero.
    """
    step = windows.shrink
    edge = torch.arange(capacity + 1, device=step.device)
    x, y = (_edges(windows, axis, edge) for axis in (0, 1))  # (T, capacity + 1)
    corners = _sums_at(pictures, windows.picture, x, y)
    total = corners[:, 1:, 1:] - corners[:, :-1, 1:] - corners[:, 1:, :-1] + corners[:, :-1, :-1]
    mean = (total / step.prod(1).view(-1, 1, 1, 1)).float().permute(0, 3, 1, 2)
    quarter = (step == 2).all(1).view(-1, 1, 1, 1)
    return torch.where(quarter, whole(mean, half_up=True), whole(mean, half_up=False))


def _edges(windows: Windows, axis: int, edge: Tensor) -> Tensor:
    """(T, capacity + 1) float64: where the shrunk pixels begin in the picture; none beyond the window."""
    low, high = windows.low[:, axis, None].double(), windows.high[:, axis, None].double()
    return torch.minimum(low + edge * windows.shrink[:, axis, None], high)


def _sums_at(pictures: Pictures, picture: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(T, rows, columns, 3): the table at (T, columns) x and (T, rows) y; between pixels a pixel counts by the share that is covered."""
    height, width = pictures.sizes[picture].unbind(1)
    x0, y0 = x.floor(), y.floor()
    across, down = (x - x0)[:, None, :, None], (y - y0)[:, :, None, None]
    x0, y0 = x0.long(), y0.long()
    x1, y1 = torch.minimum(x0 + 1, width[:, None]), torch.minimum(y0 + 1, height[:, None])
    start, stride = pictures.sum_starts[picture][:, None], (width + 1)[:, None]
    upper = _between(pictures.sums, start + y0 * stride, x0, x1, across)
    return upper + down * (_between(pictures.sums, start + y1 * stride, x0, x1, across) - upper)


def _between(sums: Tensor, row: Tensor, x0: Tensor, x1: Tensor, across: Tensor) -> Tensor:
    left, right = sums[row[:, :, None] + x0[:, None]], sums[row[:, :, None] + x1[:, None]]
    return left + across * (right - left)


def _starts(lengths: Tensor) -> Tensor:
    return lengths.cumsum(0) - lengths
