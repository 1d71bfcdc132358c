"""What a DetectionNet is punished for: wrong scores, loose boxes, misplaced points."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.detector.training.assignment import Assignment, Truth
from fer_core.detect.builtin.network import DetectionOutputs

NEGATIVE_WEIGHT: Final = 2.0
"""Of places without a face: what is invented costs more than what is missed."""
BOX_WEIGHT: Final = 2.0
POINT_WEIGHT: Final = 8.0


@dataclass(frozen=True, slots=True)
class DetectionLoss:
    """Scalars, each over the sum of the score targets."""

    score: Tensor
    box: Tensor
    points: Tensor

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        return self.score + BOX_WEIGHT * self.box + POINT_WEIGHT * self.points


def detection_loss(seen: DetectionOutputs, truth: Truth, assignment: Assignment) -> DetectionLoss:
    """Quality focal loss on scores (Li et al., "Generalized Focal Loss", NeurIPS 2020), GIoU on boxes (Rezatofighi et al., CVPR 2019),
    and the mean distance of the points in parts of the face's side, the latter two weighted by the place's score target.

    assignment: what `assigned` makes of the same."""
    target, positive = assignment.target, assignment.positive
    weight = target.sum().clamp(min=1)
    counted = torch.where(positive, 1.0, NEGATIVE_WEIGHT) * assignment.judged
    score = (focal_loss(seen.logits, target) * counted).sum() / weight
    share = target[positive]
    box = _picked(truth.boxes, assignment)
    spread = overlap_loss(seen.boxes[positive], box)
    off = point_loss(seen.points[positive], _picked(truth.points.flatten(2), assignment).view(-1, 5, 2), box)
    return DetectionLoss(score, (spread * share).sum() / weight, (off * share).sum() / weight)


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """(B, N): binary cross-entropy times the squared distance from the target."""
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss * (logits.sigmoid() - target) ** 2


def overlap_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """(P, 4), (P, 4) -> (P,) in [0, 2)."""
    return 1 - generalised_overlap(boxes, others)


def point_loss(points: Tensor, others: Tensor, boxes: Tensor) -> Tensor:
    """(P, 5, 2), (P, 5, 2) -> (P,) mean distance in parts of the sides of the faces' boxes, (P, 4)."""
    side = (boxes[:, 2:] - boxes[:, :2]).prod(1).sqrt().clamp(min=1)
    apart: Tensor = (points - others).norm(dim=2).mean(1) / side
    return apart


def _picked(values: Tensor, assignment: Assignment) -> Tensor:
    """(B, M, K) of faces -> (P, K) of the positive places."""
    index = assignment.face.unsqueeze(2).expand(-1, -1, values.shape[2])
    return values.gather(1, index)[assignment.positive]


def generalised_overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """GIoU of matching rows: (P, 4), (P, 4) -> (P,) in (-1, 1]."""
    sides = (torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])).clamp(min=0)
    shared = sides.prod(1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - shared
    around = (torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])).prod(1).clamp(min=1e-6)
    return shared / union.clamp(min=1e-6) - (around - union) / around
