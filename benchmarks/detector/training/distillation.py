"""What a small DetectionNet is punished for where it differs from a large trained one that sees the same scenes.

Both have the same grids, so each place of the one is compared with the same place of the other (Hinton et al., "Distilling the Knowledge in
a Neural Network", 2015). Labels are right where the two disagree: places that the teacher calls a face and the labels do not, and the
reverse, do not count.
"""

from typing import Final

import torch
from torch import Tensor

from benchmarks.detector.training.assignment import Assignment, Truth, inside_boxes
from benchmarks.detector.training.detection_loss import DetectionLoss, focal_loss, overlap_loss, point_loss
from fer_core.detect.builtin.network import DetectionOutputs

SURE: Final = 0.3
"""Score from which the teacher's box and points are learnt."""


def distillation_loss(seen: DetectionOutputs, taught: DetectionOutputs, truth: Truth, assignment: Assignment) -> DetectionLoss:
    """Quality focal loss with the teacher's scores as targets, GIoU to its boxes and the distance from its points, as `detection_loss`.

    taught: the teacher's outputs for the same pictures.
    """
    target = taught.logits.detach().sigmoid()
    sure = target >= SURE
    agreed = torch.where(sure, inside_boxes(seen, truth, truth.known | truth.unsure), ~assignment.positive)
    learnt = sure & agreed
    share = target[learnt]
    weight = share.sum().clamp(min=1)
    box = taught.boxes[learnt]
    return DetectionLoss(
        (focal_loss(seen.logits, target) * agreed).sum() / weight,
        _mean(overlap_loss(seen.boxes[learnt], box), share, weight),
        _mean(point_loss(seen.points[learnt], taught.points[learnt], box), share, weight),
    )


def _mean(loss: Tensor, share: Tensor, weight: Tensor) -> Tensor:
    return (loss * share).sum() / weight
