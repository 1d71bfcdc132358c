"""From a configuration to its loss: a new one is a file beside this and a line in each of two tables, here and in `objective`."""

from typing import Final

from fer_core.losses.center import CenterLoss
from fer_core.losses.center_cosine import CenterCosineLoss
from fer_core.losses.cosface import CosFaceLoss
from fer_core.losses.cross_entropy import CrossEntropyLoss
from fer_core.losses.island import IslandLoss
from fer_core.losses.objective import Classifier, LossConfig, LossKind, Objective

_LOSSES: Final[dict[LossKind, type[Objective]]] = {
    "center_cosine": CenterCosineLoss,
    "cross_entropy": CrossEntropyLoss,
    "center": CenterLoss,
    "cosface": CosFaceLoss,
    "island": IslandLoss,
}


def build(config: LossConfig, scale: float, classes: int, embedding: int) -> Objective:
    """The loss of a configuration; scale (s) multiplies cosines. ValueError: a scale or margin that so many classes cannot keep."""
    return _LOSSES[config.kind](config, scale, classes, embedding)


def classifier_of(kind: LossKind) -> Classifier:
    """The classifier that a network needs for this loss."""
    return _LOSSES[kind].classifier
