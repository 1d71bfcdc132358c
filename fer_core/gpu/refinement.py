"""Refinement of all candidates of a batch: the cut-outs and rules of `detect.builtin.refinement`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fer_core.detect.builtin.refinement import FACE, SAME_FACE, SEEN, SIDE
from fer_core.gpu.integral import Pictures, Windows, area_downsample
from fer_core.gpu.places import ROW, box_iou
from fer_core.gpu.warp import nearest_level, sampling_grid

BATCH: Final = 64
"""Cut-outs that pass the network together on a GPU."""
WINDOW: Final = 2 * SIDE + 8
"""Most columns of a cut-out's surroundings once they are shrunk: a face of nearly twice `FACE` is not shrunk at all."""
GREY: Final = 128.0

Network = Callable[[Tensor], Tensor]
"""(B, 3, H, W) of 0 to 255 -> (B, N, 15) outputs at every place."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """The surroundings of T faces."""

    pixels: Tensor
    """(T, 3, SIDE, SIDE) float32 of whole grey levels."""
    scale: Tensor
    """(T,) float64: pixels of the cut-out a pixel of the picture."""
    centre: Tensor
    """(T, 2) float64: of the box, in the picture, which lies in the middle of the cut-out."""


def refine_detections(network: Network, pictures: Pictures, rows: Tensor, picture: Tensor, dtype: torch.dtype, *, batch: int) -> Tensor:
    """(T, 15) of the first pass and the number of each one's picture -> (T, 15) after the second pass. T is a multiple of `batch`.

    The network always gets `batch` cut-outs, so that no result depends on their number.
    """
    out = []
    for part, own in zip(torch.split(rows, batch), torch.split(picture, batch), strict=True):
        cuts = cut_out(pictures, part[:, :4].double(), own.clamp(max=len(pictures.sizes) - 1))
        seen = network(cuts.pixels.to(dtype=dtype, memory_format=torch.channels_last))
        out.append(_together(part, seen.double(), cuts))
    return torch.cat(out)


def cut_out(pictures: Pictures, boxes: Tensor, picture: Tensor) -> Cuts:
    """(T, 4) float64 boxes and (T,) numbers of pictures -> cut-outs, grey where the picture ends."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    scale = FACE / (boxes[:, 2:] - boxes[:, :2]).prod(1).clamp(min=0).sqrt().clamp(min=1.0)
    windows = _surroundings(pictures, picture, centre, scale)
    small = area_downsample(pictures, windows, WINDOW)
    gain = scale[:, None] * windows.shrink
    shift = SIDE / 2 + (windows.low - centre) * scale[:, None] + gain / 2 - 0.5  # pixel edges -> pixel centres
    slope, none = 1 / gain, torch.zeros_like(gain[:, 0])
    rows = torch.stack([slope[:, 0], none, -shift[:, 0] * slope[:, 0], none, slope[:, 1], -shift[:, 1] * slope[:, 1]], 1)
    place = sampling_grid(rows.view(-1, 2, 3), SIDE)  # in pixels of the shrunk window
    across, down = _weights(place[:, 0, :, 0], windows.size[:, 0]), _weights(place[:, :, 0, 1], windows.size[:, 1])  # (T, SIDE, WINDOW)
    seen = torch.matmul(torch.matmul(down[:, None], small - GREY), across[:, None].transpose(2, 3))
    return Cuts(nearest_level(seen + GREY), scale, centre)


def _surroundings(pictures: Pictures, picture: Tensor, centre: Tensor, scale: Tensor) -> Windows:
    """The area of the cut-outs and two pixels around it, shrunk by whole factors."""
    size = pictures.sizes[picture].flip(1).double()  # width, height
    reach = (SIDE / 2 / scale + 2)[:, None]
    low = torch.minimum((centre - reach).floor().clamp(min=0), size - 1)
    high = torch.maximum(torch.minimum((centre + reach).ceil().clamp(min=1), size), low + 1)
    factor = (1 / scale).floor().clamp(min=1)[:, None]
    return Windows(picture, low.long(), high.long(), ((high - low) / factor).floor().clamp(min=1).long())


def _weights(place: Tensor, size: Tensor) -> Tensor:
    """(T, SIDE) places and (T,) numbers of pixels -> (T, SIDE, WINDOW) bilinear weights; beyond the last pixel there is none."""
    pixel = torch.arange(WINDOW, device=place.device)
    weights = (1 - (place[..., None] - pixel).abs()).clamp(min=0)
    return torch.where(pixel < size[:, None, None], weights, 0.0).float()


def _together(rows: Tensor, seen: Tensor, cuts: Cuts) -> Tensor:
    """(T, 15) of the first pass and (T, N, 15) of all places of the second, in the cut-outs' pixels -> (T, 15) of both."""
    centre = cuts.centre.repeat(1, 7)[:, None]
    placed = torch.cat([(seen[..., :14] - SIDE / 2) / cuts.scale[:, None, None] + centre, seen[..., 14:]], 2)
    same = box_iou(rows[:, None, :4].double(), placed[..., :4])[:, 0] >= SAME_FACE
    scores, best = torch.where(same, placed[..., 14], 0.0).max(1)
    second = placed.gather(1, best[:, None, None].expand(-1, 1, ROW))[:, 0]
    first = rows.double()
    both = torch.where((scores >= SEEN)[:, None], (first + second) / 2, first)
    return torch.cat([both[:, :14], (first[:, 14] * scores).sqrt()[:, None]], 1).float()
