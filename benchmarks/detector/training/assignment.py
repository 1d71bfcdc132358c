"""Which places of the grids answer for which face, decided anew in every step by how well they already see it.

Feng et al., "TOOD: Task-aligned One-stage Object Detection" (ICCV 2021): a place's fitness for a face is its score times a power of the
overlap of its box; the fittest few are positive, and the target of their score is how well they fit.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from fer_core.detect.builtin.network import STRIDES, DetectionOutputs

FITTEST: Final = 9
"""Places a face."""
OVERLAP_POWER: Final = 4.0
CELLS: Final = 2
"""Places answer for a face only inside its box and within so many rows and columns of its middle."""
REACHES: Final = ((0.0, 72.0), (28.0, 176.0), (72.0, float("inf")))
"""Sides (square root of the area), in pixels, that each level may answer for, finest first; neighbours share a part."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Faces of a batch of scenes, padded to M a scene."""

    boxes: Tensor
    """(B, M, 4) pixels."""
    points: Tensor
    """(B, M, 5, 2) pixels."""
    known: Tensor
    """(B, M) bool: a face to be found."""
    unsure: Tensor
    """(B, M) bool: something that is neither rewarded nor punished. Neither known nor unsure: padding."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What each place answers for."""

    face: Tensor
    """(B, N) index of its face, meaningless where not positive."""
    positive: Tensor
    """(B, N) bool."""
    target: Tensor
    """(B, N) float32, the score it should have: 0 where not positive."""
    judged: Tensor
    """(B, N) bool: whether its score counts."""


@torch.no_grad()
def assigned(seen: DetectionOutputs, truth: Truth) -> Assignment:
    """See the module's text."""
    places, allowed = _candidates(seen, truth)  # (B, M, C)
    batch, faces, count = places.shape
    flat = places.flatten(1)
    boxes = seen.boxes.gather(1, flat.unsqueeze(2).expand(-1, -1, 4)).view(batch, faces, count, 4)
    overlap = box_iou(truth.boxes.unsqueeze(2), boxes)
    fitness = seen.logits.sigmoid().gather(1, flat).view_as(overlap) * overlap**OVERLAP_POWER
    fitness = torch.where(allowed, fitness + 1e-9, torch.zeros_like(fitness))
    fitness = torch.where(fitness >= fitness.topk(min(FITTEST, count), dim=2).values[..., -1:], fitness, torch.zeros_like(fitness))
    reached = torch.where(fitness > 0, overlap, torch.zeros_like(overlap)).amax(2, keepdim=True)
    share = fitness / fitness.amax(2, keepdim=True).clamp(min=1e-12) * reached
    best = torch.zeros_like(seen.logits).scatter_reduce(1, flat, fitness.flatten(1), "amax")
    won = (fitness.flatten(1) > 0) & (fitness.flatten(1) == best.gather(1, flat))  # a place answers for one face
    row, candidate = won.nonzero(as_tuple=True)
    place = flat[row, candidate]
    face = torch.zeros_like(seen.logits, dtype=torch.long)
    face[row, place] = candidate // count
    target = torch.zeros_like(seen.logits)
    target[row, place] = share.flatten(1)[row, candidate].clamp(0, 1)
    positive = best > 0
    return Assignment(face, positive, target, positive | ~inside_boxes(seen, truth, truth.unsure))


def _candidates(seen: DetectionOutputs, truth: Truth) -> tuple[Tensor, Tensor]:
    """(B, M, C) places around the middle of each face on each level, and whether they may answer for it."""
    centre, half = (truth.boxes[..., :2] + truth.boxes[..., 2:]) / 2, (truth.boxes[..., 2:] - truth.boxes[..., :2]) / 2
    side = (4 * half.prod(2)).clamp(min=0).sqrt().unsqueeze(2)
    steps = torch.arange(-CELLS, CELLS + 1, device=centre.device)
    down, across = (grid.flatten() for grid in torch.meshgrid(steps, steps, indexing="ij"))
    places, allowed, first = [], [], 0
    for (rows, columns), stride, (low, high) in zip(seen.grids, STRIDES, REACHES, strict=True):
        column = (centre[..., :1] / stride).floor().long() + across
        row = (centre[..., 1:] / stride).floor().long() + down
        apart = torch.stack([(column + 0.5) * stride - centre[..., :1], (row + 0.5) * stride - centre[..., 1:]], 3).abs()
        inside = (apart < half.unsqueeze(2).clamp(min=stride / 2 + 0.01)).all(3)  # a tiny face has the place it lies in
        there = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        places.append(first + row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1))
        allowed.append(inside & there & (side >= low) & (side < high) & truth.known.unsqueeze(2))
        first += rows * columns
    return torch.cat(places, 2), torch.cat(allowed, 2)


def inside_boxes(seen: DetectionOutputs, truth: Truth, chosen: Tensor) -> Tensor:
    """(B, N) bool: places inside the box of one of the chosen faces, (B, M) bool."""
    scene, index = chosen.nonzero(as_tuple=True)
    boxes = truth.boxes[scene, index].unsqueeze(1)
    x, y = seen.centres[:, 0], seen.centres[:, 1]
    inside = (x >= boxes[..., 0]) & (x <= boxes[..., 2]) & (y >= boxes[..., 1]) & (y <= boxes[..., 3])
    return torch.zeros_like(seen.logits).index_add_(0, scene, inside.float()) > 0


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) and (..., 4), which broadcast."""
    wide = torch.minimum(boxes[..., 2], others[..., 2]) - torch.maximum(boxes[..., 0], others[..., 0])
    high = torch.minimum(boxes[..., 3], others[..., 3]) - torch.maximum(boxes[..., 1], others[..., 1])
    shared = wide.clamp(min=0) * high.clamp(min=0)
    areas = [(box[..., 2] - box[..., 0]) * (box[..., 3] - box[..., 1]) for box in (boxes, others)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-6)
