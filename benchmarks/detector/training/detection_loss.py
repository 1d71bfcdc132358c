"""What a DetectionNet is punished for: wrong scores, loose boxes, misplaced points."""

from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.detector.training.assignment import Assignment, Truth, assigned
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


def detection_loss(seen: DetectionOutputs, truth: Truth) -> DetectionLoss:
    """Quality focal loss on scores (Li et al., "Generalized Focal Loss", NeurIPS 2020), GIoU on boxes (Rezatofighi et al., CVPR 2019),
    and the mean distance of the points in parts of the face's side, the latter two weighted by the place's score target."""
    assignment = assigned(seen, truth)
    target, positive = assignment.target, assignment.positive
    weight = target.sum().clamp(min=1)
    score = _score_loss(seen.logits, assignment).sum() / weight
    share = target[positive]
    box = _picked(truth.boxes, assignment)
    spread = 1 - generalised_overlap(seen.boxes[positive], box)
    side = (box[:, 2:] - box[:, :2]).prod(1).sqrt().clamp(min=1)
    apart = (seen.points[positive] - _picked(truth.points.flatten(2), assignment).view(-1, 5, 2)).norm(dim=2)
    off = apart.mean(1) / side
    return DetectionLoss(score, (spread * share).sum() / weight, (off * share).sum() / weight)


def _score_loss(logits: Tensor, assignment: Assignment) -> Tensor:
    """(B, N): binary cross-entropy times the squared distance from the target."""
    loss = F.binary_cross_entropy_with_logits(logits, assignment.target, reduction="none")
    weight = torch.where(assignment.positive, 1.0, NEGATIVE_WEIGHT) * assignment.judged
    return loss * (logits.sigmoid() - assignment.target) ** 2 * weight


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
