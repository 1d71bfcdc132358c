"""How unlike the faces of training a face is: the rank of its largest cosine among those of held-back faces.

Of what a network gives beside its probabilities, the largest cosine between an embedding and a class center follows the accuracy on spoilt
and foreign faces best (benchmarks/accuracy/novelty.py). A rank needs no fit, and depends on neither prior nor temperature.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS
from fer_core.models.review_thresholds import limit_above
from fer_core.validation import check_entries

STEPS: Final = 200
"""Quantiles that are kept, evenly spread, with both ends one more."""


@dataclass(frozen=True, slots=True)
class NoveltyScale:
    """Turns the logits of a cosine classifier into novelty."""

    scale: float
    """By which the network multiplies cosines."""
    offset: tuple[float, ...]
    """(8,) what it adds to them: its class bias, or zeros."""
    quantiles: tuple[float, ...]
    """Largest cosines of held-back faces, rising, evenly spread over the faces."""
    limit: float
    """In [0, 1]: labels of faces with a larger novelty need review."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ValueError: no scale."""
        check_entries(self)
        if not 2 <= len(self.quantiles) <= 10_000 or (np.diff(self.quantiles) < 0).any() or not 0 <= self.limit <= 1:
            raise ValueError("a scale of novelty has rising quantiles and a limit between 0 and 1")
        if len(self.offset) != len(EXPRESSIONS) or self.scale <= 0:
            raise ValueError("a scale of novelty has eight offsets, and a factor above 0")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `asdict` gave; anything else is a TypeError, ValueError or KeyError."""
        return cls(value["scale"], tuple(value["offset"]), tuple(value["quantiles"]), value["limit"])

    def novelty(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 8) -> (N,) share of held-back faces whose largest cosine is above, in [0, 1]."""
        cosines = largest_cosines(logits, self.scale, np.array(self.offset))
        return np.asarray(np.interp(cosines, self.quantiles, np.linspace(1, 0, len(self.quantiles))), np.float64)


def largest_cosines(logits: NDArray[np.float64], scale: float, offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 8) logits of a cosine classifier -> (N,)."""
    return np.asarray((logits - offset).max(axis=1, initial=-np.inf) / scale, np.float64)


def fit_novelty(
    held_back: NDArray[np.float64], shifted: NDArray[np.float64], wrong: NDArray[np.bool_], scale: float, offset: NDArray[np.float64]
) -> NoveltyScale:
    """(N, 8) logits of held-back faces; (M, 8) those of faces unlike training and (M,) whether their labels are wrong.

    The limit is the smallest novelty around and above which labels are wrong half of the time. scale, offset: see `NoveltyScale`.
    """
    cosines = largest_cosines(held_back, scale, offset)
    quantiles = tuple(float(value) for value in np.quantile(cosines, np.linspace(0, 1, STEPS + 1)).round(5))
    draft = NoveltyScale(scale, tuple(round(float(value), 6) for value in offset), quantiles, 1.0)
    return replace(draft, limit=limit_above(draft.novelty(shifted), wrong, 1.0, 0.5))
