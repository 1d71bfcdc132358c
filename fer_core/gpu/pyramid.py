"""Pyramid levels of all pictures of a batch, made on the device and cut into tiles, as in `tiling.tile_image`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fer_core.gpu.plan import Plan, Shape
from fer_core.gpu.resize import downsample_to, upsample_to

GREY: Final = 128.0


@dataclass(frozen=True, slots=True)
class TileBatch:
    """All tiles of one shape."""

    pixels: Tensor
    """(n, 3, H, W) of 0 to 255, grey where the picture ends."""


def batch_tiles(plan: Plan, flat: Tensor, dtype: torch.dtype) -> Iterator[TileBatch]:
    """The plan's passes, in its order. flat: (sum of H * W, 3) uint8; dtype: any floating one, all hold whole grey levels exactly."""
    looks = _looks(plan, flat, dtype)
    for each in plan.passes:
        pixels = torch.empty((len(each.picture), 3, *each.shape), dtype=dtype, device=flat.device, memory_format=torch.channels_last)
        pixels.fill_(GREY)
        start = 0
        for tile in each.tiles:
            part = looks[tile.group, tile.look][:, :, tile.top : tile.bottom, tile.left : tile.right]
            pixels[start : start + len(part), :, : part.shape[2], : part.shape[3]] = part
            start += len(part)
        yield TileBatch(pixels)


def _looks(plan: Plan, flat: Tensor, dtype: torch.dtype) -> dict[tuple[int, Shape], Tensor]:
    """(B, 3, h, w) whole grey levels, by group and size."""
    found: dict[tuple[int, Shape], Tensor] = {}
    wanted = {(tile.group, tile.look) for each in plan.passes for tile in each.tiles}
    start = 0
    for number, group in enumerate(plan.groups):
        area = group.count * group.height * group.width
        pictures = flat[start : start + area].view(group.count, group.height, group.width, 3).permute(0, 3, 1, 2)
        levels = pictures.to(torch.float32, memory_format=torch.contiguous_format)
        longest = max(group.height, group.width)
        for height, width in sorted(look for owner, look in wanted if owner == number):
            resized = upsample_to if max(height, width) > longest else downsample_to
            found[number, (height, width)] = resized(levels, height, width).to(dtype)
        start += area
    return found
