"""Refinement of all candidates of a batch: the cut-outs and rules of `detect.builtin.refinement`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fer_core.detect.builtin.refinement import CONFIRMING, PLACING, SAME_FACE, SEEN, CutSize
from fer_core.gpu.integral import Pictures, Windows, area_downsample
from fer_core.gpu.places import ROW, box_iou
from fer_core.gpu.warp import nearest_level, sampling_grid

BATCH: Final = 64
"""Cut-outs that pass the network together on a GPU."""
GREY: Final = 128.0

Network = Callable[[Tensor], Tensor]
"""(B, 3, H, W) of 0 to 255 -> (B, N, 15) outputs at every place."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """The surroundings of T faces."""

    pixels: Tensor
    """(T, 3, side, side) float32 of whole grey levels."""
    scale: Tensor
    """(T,) float64: pixels of the cut-out a pixel of the picture."""
    centre: Tensor
    """(T, 2) float64: of the box, in the picture, which lies in the middle of the cut-out."""


def refine_detections(  # noqa: PLR0917  (as the reference's, and what a batch on the device needs)
    network: Network, pictures: Pictures, rows: Tensor, picture: Tensor, min_score: float, dtype: torch.dtype, *, batch: int
) -> Tensor:
    """(T, 15) of the first pass and the number of each one's picture -> (T, 15) after all passes. T is a multiple of `batch`.

    The network always gets `batch` cut-outs, so that no result depends on their number; rows below `min_score` pass it as well, and
    stay as they are.
    """
    out = []
    for part, own in zip(torch.split(rows, batch), torch.split(picture, batch), strict=True):
        owner = own.clamp(max=len(pictures.sizes) - 1)
        first = part.double()
        again = _found_again(network, pictures, part, owner, dtype, CONFIRMING)
        both = torch.where(again[:, 14:] > 0, (first + again) / 2, first)
        scores = (first[:, 14:] * again[:, 14:]).sqrt()
        both = torch.cat([both[:, :14], scores], 1)
        placed = _found_again(network, pictures, both.float(), owner, dtype, PLACING)
        sure = (scores >= min_score) & (again[:, 14:] > 0) & (placed[:, 14:] > 0)
        out.append(torch.cat([torch.where(sure, (2 * both + placed) / 3, both)[:, :14], scores], 1).float())
    return torch.cat(out)


def _found_again(network: Network, pictures: Pictures, rows: Tensor, picture: Tensor, dtype: torch.dtype, size: CutSize) -> Tensor:  # noqa: PLR0917
    """(T, 15) float32 -> (T, 15) float64: the best detection of the same face in each one's cut-out, or zeros."""
    cuts = cut_out(pictures, rows[:, :4].double(), picture, size)
    seen = network(cuts.pixels.to(dtype=dtype, memory_format=torch.channels_last)).double()
    centre = cuts.centre.repeat(1, 7)[:, None]
    placed = torch.cat([(seen[..., :14] - size.side / 2) / cuts.scale[:, None, None] + centre, seen[..., 14:]], 2)
    same = (box_iou(rows[:, None, :4].double(), placed[..., :4])[:, 0] >= SAME_FACE) & (placed[..., 14] >= SEEN)
    scores, best = torch.where(same, placed[..., 14], 0.0).max(1)
    found = placed.gather(1, best[:, None, None].expand(-1, 1, ROW))[:, 0]
    return torch.where((scores > 0)[:, None], found, 0.0)


def cut_out(pictures: Pictures, boxes: Tensor, picture: Tensor, size: CutSize) -> Cuts:
    """(T, 4) float64 boxes and (T,) numbers of pictures -> cut-outs, grey where the picture ends."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    side, window = size.side, 2 * size.side + 8  # a face of nearly twice its size is not shrunk at all
    scale = size.face / (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=0).sqrt().clamp(min=1.0)
    windows = _surroundings(pictures, picture, centre, scale, side)
    small = area_downsample(pictures, windows, window)
    gain = scale[:, None] * windows.shrink
    shift = side / 2 + (windows.low - centre) * scale[:, None] + gain / 2 - 0.5  # pixel edges -> pixel centres
    slope, none = 1 / gain, torch.zeros_like(gain[:, 0])
    rows = torch.stack([slope[:, 0], none, -shift[:, 0] * slope[:, 0], none, slope[:, 1], -shift[:, 1] * slope[:, 1]], 1)
    place = sampling_grid(rows.view(-1, 2, 3), side)  # in pixels of the shrunk window
    across, down = (
        _weights(at, windows.size[:, axis], window) for axis, at in enumerate((place[:, 0, :, 0], place[:, :, 0, 1]))
    )  # (T, side, window)
    seen = torch.matmul(torch.matmul(down[:, None], small - GREY), across[:, None].transpose(2, 3))
    return Cuts(nearest_level(seen + GREY), scale, centre)


def _surroundings(pictures: Pictures, picture: Tensor, centre: Tensor, scale: Tensor, side: int) -> Windows:
    """The area of the cut-outs and two pixels around it, shrunk by whole factors."""
    size = pictures.sizes[picture].flip(1).double()  # width, height
    reach = (side / 2 / scale + 2)[:, None]
    low = torch.minimum((centre - reach).floor().clamp(min=0), size - 1)
    high = torch.maximum(torch.minimum((centre + reach).ceil().clamp(min=1), size), low + 1)
    factor = (1 / scale).floor().clamp(min=1)[:, None]
    return Windows(picture, low.long(), high.long(), ((high - low) / factor).floor().clamp(min=1).long())


def _weights(place: Tensor, size: Tensor, window: int) -> Tensor:
    """(T, side) places and (T,) numbers of pixels -> (T, side, window) bilinear weights; beyond the last pixel there is none."""
    pixel = torch.arange(window, device=place.device)
    weights = (1 - (place[..., None] - pixel).abs()).clamp(min=0)
    return torch.where(pixel < size[:, None, None], weights, 0.0).float()
