"""The one interface of all losses, and the record that picks one and weighs its terms."""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal, Self, get_args

import torch
from torch import Tensor, nn

LossKind = Literal["center_cosine", "cross_entropy", "center", "cosface", "island"]
Classifier = Literal["cosine", "linear"]
"""How logits come out of embeddings and centers: `scale * cosine`, or the plain product."""

_USUAL: Final[dict[LossKind, dict[str, float]]] = {
    "center_cosine": {"margin": 0.1, "compactness": 0.5, "separation": 1.0},
    "cross_entropy": {},
    "center": {"compactness": 0.01},
    "cosface": {"margin": 0.35},
    "island": {"compactness": 0.01, "separation": 10.0},
}
"""The numbers that a kind has, and their usual values. Why these: see the loss of that name."""


@dataclass(frozen=True, slots=True, init=False)
class LossConfig:
    """Which loss, and the weights of its terms; the text of each loss says what its numbers mean."""

    kind: LossKind
    margin: float
    """In cosine, below K / (K - 1)."""
    compactness: float
    """Weight of the term that pulls faces together."""
    separation: float
    """Weight of the term that pushes classes apart."""
    margin_start: float
    """Part of the run that goes by before there is a margin; it then grows evenly over a part as long. 0: the whole margin at once."""

    def __init__(
        self,
        kind: LossKind = "center_cosine",
        margin: float | None = None,
        compactness: float | None = None,
        separation: float | None = None,
        margin_start: float = 0.0,
    ) -> None:
        """What is left out takes the kind's usual value, and 0 where the kind has no such number.

        TypeError: no such kind, or not a number. ValueError: a negative or infinite number, or one that the kind does not have.
        """
        if kind not in get_args(LossKind):
            raise TypeError(f"unknown loss {kind!r}; choose one of {', '.join(get_args(LossKind))}")
        object.__setattr__(self, "kind", kind)
        for name, value in (("margin", margin), ("compactness", compactness), ("separation", separation)):
            usual = _USUAL[kind].get(name)
            object.__setattr__(self, name, _checked(kind, name, usual is not None, (usual or 0.0) if value is None else value))
        object.__setattr__(self, "margin_start", _checked(kind, "margin_start", "margin" in _USUAL[kind], margin_start))
        if self.margin_start > 0.5:
            raise ValueError(f"the margin_start of a loss is at most 0.5, so that the margin is reached before the end, not {margin_start}")

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        entries = asdict(self)
        if not self.margin_start:  # came later; checkpoints of before stay what they were
            del entries["margin_start"]
        return entries

    def margin_at(self, done: float) -> float:
        """done: part of the run, 0 to 1 -> the margin there."""
        start = self.margin_start
        return self.margin * min(1.0, max(0.0, done / start - 1)) if start else self.margin

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Numbers may be left out, also the kind (center cosine). Errors as above; an unknown name is a TypeError."""
        if not isinstance(value, dict):
            raise TypeError(f"a loss is written as a JSON object, not {value!r}")
        unknown = sorted(value.keys() - {"kind", "margin", "compactness", "separation", "margin_start"})
        if unknown:
            raise TypeError(f"a loss has no {unknown[0]!r}")
        return cls(**value)


def _checked(kind: LossKind, name: str, used: bool, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"the {name} of a loss is a number, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"the {name} of a loss must be finite and at least 0, not {value}")
    if value and not used:
        raise ValueError(f"the loss {kind} has no {name}; leave it out")
    return float(value)


class Objective(nn.Module, ABC):
    """A loss: what it asks of each face, averaged, plus what it asks of the classes as a whole.

    Every loss is built from the same four values and ignores those that it does not need. Computed in float32 (float64 stays), also under
    autocast: bfloat16 rounds a cosine by up to 0.002, which a scale of 16 makes 0.03 in a logit.
    """

    classifier: ClassVar[Classifier]
    """How a network trained with this loss turns embeddings into logits."""

    def __init__(self, config: LossConfig, scale: float, classes: int, embedding: int) -> None:
        """scale: what cosines are multiplied by (s). classes: K. embedding: D."""
        super().__init__()
        self.config, self.scale, self.classes, self.embedding = config, scale, classes, embedding
        self.margin = config.margin
        """The margin as it is now; see `at`."""

    def at(self, done: float) -> None:
        """done: part of the run that has gone by, 0 to 1. Sets the margin."""
        self.margin = self.config.margin_at(done)

    def forward(
        self, embeddings: Tensor, centers: Tensor, targets: Tensor, weights: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        """-> scalar. Loss and gradients are finite also where embeddings, centers or all weights are 0; no faces cost nothing.

        embeddings: (B, D), not normalised. centers: (K, D) class centers, or the rows of the linear classifier. targets: (B, K), rows of
        sum 1, shares of raters. weights: (B,), at least 0. bias: (K,) added to the logits.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings, centers, targets = full(embeddings), full(centers), full(targets)
            known = None if bias is None else full(bias)
            return _mean(self.of_faces(embeddings, centers, targets, known), weights) + self.of_classes(centers)

    @abstractmethod
    def of_faces(self, embeddings: Tensor, centers: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, D), (K, D), (B, K), (K,) -> (B,) what each face costs."""

    def of_classes(self, centers: Tensor) -> Tensor:
        """(K, D) -> scalar: what the classes cost, whatever the faces."""
        return centers.new_zeros(())


def full(tensor: Tensor) -> Tensor:
    """Half types as float32; others as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _mean(each: Tensor, weights: Tensor | None) -> Tensor:
    """(B,) -> scalar weighted mean; 0 where nothing has weight."""
    if weights is None:
        return each.mean() if len(each) else each.sum()
    weights = full(weights)
    return (each * weights).sum() / weights.sum().clamp_min(1e-12)
