"""Things that hide parts of an aligned face: masks, dark glasses, bars over the eyes, hands. For training; drawn on tensors in batches.

Places are those of the ArcFace template (eyes at rows 52, columns 38 and 74; mouth at row 92), a little different on each face.
"""

import math
from typing import Final

import torch
from torch import Tensor

KINDS: Final = 4
"""Mask, dark glasses, bar, hand."""
EYE_ROW: Final = 51.6
EYE_COLUMNS: Final = (38.3, 73.5)
MIDDLE: Final = 55.9
NOSE_ROW: Final = 71.7
FINGERS: Final = 4


def occluded(faces: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """(B, 1, 112, 112) float, 0 to 255 -> the same shape; about `share` of the faces are covered by one thing each.

    The drawing depends on the generator's state alone, not on the device of the faces.
    """
    count = len(faces)
    picked = torch.nonzero(torch.rand(count, generator=generator) < share).flatten()
    kind = torch.randint(KINDS, (len(picked),), generator=generator).view(-1, 1, 1)
    if len(picked) == 0:
        return faces
    height, width = faces.shape[-2:]
    y, x = torch.arange(height).view(1, -1, 1).float(), torch.arange(width).view(1, 1, -1).float()
    shapes = torch.stack([draw(len(picked), x, y, generator) for draw in (_mask, _glasses, _bar, _hand)])
    covered = torch.zeros_like(shapes[0])
    for index in range(KINDS):
        covered = torch.where(kind == index, shapes[index], covered)
    where = picked.to(faces.device)
    tone = _tones(faces[where].cpu(), kind, generator).to(faces.device)
    out = faces.clone()
    out[where] = torch.where(covered.unsqueeze(1).to(faces.device) > 0.5, tone, faces[where])
    return out


def _draw(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """(count, 1, 1) uniform."""
    return low + (high - low) * torch.rand((count, 1, 1), generator=generator)


def _mask(count: int, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """All below the bridge of the nose, its upper edge bent downwards at the cheeks."""
    top = NOSE_ROW + _draw(count, -12, 4, generator)
    bend, tilt = _draw(count, 0, 14, generator), _draw(count, -0.1, 0.1, generator)
    across = (x - MIDDLE) / 40
    edge = top + bend * across**2 + tilt * (x - MIDDLE)
    return ((y > edge) & (across.abs() < 1.15)).float()


def _glasses(count: int, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """Two dark lenses and the bridge between them."""
    row = EYE_ROW + _draw(count, -3, 3, generator)
    wide, tall = _draw(count, 11, 17, generator), _draw(count, 7, 13, generator)
    lenses = [((x - column) / wide) ** 4 + ((y - row) / tall) ** 4 < 1 for column in EYE_COLUMNS]
    bridge = ((y - row + 2).abs() < 2) & ((x - MIDDLE).abs() < 18)
    return (lenses[0] | lenses[1] | bridge).float()


def _bar(count: int, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """A straight bar across the eyes, a little tilted."""
    row = EYE_ROW + _draw(count, -5, 5, generator)
    half, tilt = _draw(count, 5, 13, generator), _draw(count, -0.15, 0.15, generator)
    return ((y - row - tilt * (x - MIDDLE)).abs() < half).float()


def _hand(count: int, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """A palm at the edge of the crop with fingers that reach over the face."""
    angle = _draw(count, -0.35 * math.pi, 1.35 * math.pi, generator)  # not from above
    reach = _draw(count, 30, 44, generator)
    palm_x, palm_y = MIDDLE + reach * torch.cos(angle), 68 + reach * torch.sin(angle)
    size = _draw(count, 13, 20, generator)
    shape = ((x - palm_x) ** 2 + (y - palm_y) ** 2 < size**2).float()
    for _ in range(FINGERS):
        turn = angle + math.pi + _draw(count, -0.6, 0.6, generator)
        along = (x - palm_x) * torch.cos(turn) + (y - palm_y) * torch.sin(turn)
        aside = -(x - palm_x) * torch.sin(turn) + (y - palm_y) * torch.cos(turn)
        length, thick = size + _draw(count, 10, 26, generator), _draw(count, 3, 5, generator)
        shape = torch.maximum(shape, ((along > 0) & (along < length) & (aside.abs() < thick)).float())
    return shape


def _tones(faces: Tensor, kind: Tensor, generator: torch.Generator) -> Tensor:
    """(P, 1, 112, 112) tones of the covering: any grey for masks and bars, dark for glasses, the face's own tone for hands."""
    count = len(faces)
    skin = faces.mean((1, 2, 3)).view(-1, 1, 1)
    grey, dark = _draw(count, 0, 255, generator), _draw(count, 0, 60, generator)
    flat = torch.where(kind == 1, dark, torch.where(kind == 3, skin + _draw(count, -25, 25, generator), grey))
    grain = torch.randn(faces.shape, generator=generator) * _draw(count, 0, 10, generator).unsqueeze(1)
    return (flat.unsqueeze(1) + grain).clamp(0, 255)
