"""Pyramid levels of all pictures of a batch, made on the device and cut into tiles, as in `tiling.tile_image`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fer_core.detect.image_pyramid import Level
from fer_core.gpu.plan import Plan
from fer_core.gpu.resize import bilinear_to, downsample_to

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
            part = looks[tile.group][tile.level][:, :, tile.top : tile.bottom, tile.left : tile.right]
            pixels[start : start + len(part), :, : part.shape[2], : part.shape[3]] = part
            start += len(part)
        yield TileBatch(pixels)


def _looks(plan: Plan, flat: Tensor, dtype: torch.dtype) -> list[list[Tensor]]:
    """(B, 3, h, w) whole grey levels, by group and level."""
    found, start = list[list[Tensor]](), 0
    for group in plan.groups:
        area = group.count * group.height * group.width
        pictures = flat[start : start + area].view(group.count, group.height, group.width, 3).permute(0, 3, 1, 2)
        look = whole = pictures.to(torch.float32, memory_format=torch.contiguous_format)
        looks = list[Tensor]()
        for level in group.levels:
            look = resized(whole if level.from_picture else look, level)
            looks.append(look.to(dtype))
        found.append(looks)
        start += area
    return found


def resized(pictures: Tensor, level: Level) -> Tensor:
    """(B, 3, H, W) float32 of whole grey levels -> the level, as `image_pyramid.pyramid_levels` makes it."""
    rows, columns = pictures.shape[2] // level.cell, pictures.shape[3] // level.cell
    if level.cell > 1:
        pictures = downsample_to(pictures[:, :, : rows * level.cell, : columns * level.cell], rows, columns)
    return pictures if (rows, columns) == (level.height, level.width) else bilinear_to(pictures, level.height, level.width)
