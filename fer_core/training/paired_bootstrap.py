"""Differences of two models on the same faces, with bounds by a paired bootstrap."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS

DRAWS: Final = 4000
CONFIDENCE: Final = 0.95
CLASSES: Final = len(EXPRESSIONS)


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of two models."""

    champion: float
    challenger: float
    lower: float
    """One-sided 95 % lower bound of challenger less champion: in one draw of twenty the difference is smaller."""
    upper: float
    """The same to the other side."""

    @property
    def gain(self) -> float:
        """Challenger less champion."""
        return self.challenger - self.champion


@dataclass(frozen=True, slots=True)
class Comparison:
    """Champion and challenger on the same N faces."""

    faces: int
    accuracy: Difference
    macro_f1: Difference
    """Over the classes that occur often enough, see `compare_paired`."""
    recall: dict[str, Difference]
    """By expression, for all that occur."""
    support: dict[str, int]
    """Faces by expression, for all that occur."""


def compare_paired(
    truth: NDArray[np.int64], champion: NDArray[np.int64], challenger: NDArray[np.int64], least: int = 1, seed: int = 0
) -> Comparison:
    """(N,) true classes and predictions of each model, in the order of `labels.EXPRESSIONS` -> figures with bounds.

    Faces are resampled with replacement, each with both predictions (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993). All
    figures depend on how often each triple (truth, champion, challenger) occurs, so a draw is one multinomial over those 512 counts.
    least: faces of a class from which it counts in `macro_f1`. ValueError: no face.
    """
    if len(truth) == 0:
        raise ValueError("there is no face to compare on")
    cells = (truth * CLASSES + champion) * CLASSES + challenger
    counts = np.bincount(cells, minlength=CLASSES**3)
    support = np.bincount(truth, minlength=CLASSES)
    there = np.flatnonzero(counts)
    draws = np.zeros((DRAWS, CLASSES**3), np.int64)
    draws[:, there] = np.random.default_rng(seed).multinomial(len(truth), counts[there] / len(truth), DRAWS)
    judged = np.flatnonzero(support >= max(1, least))
    seen, drawn = _figures(counts[None], judged), _figures(draws, judged)
    occurring = np.flatnonzero(support)
    return Comparison(
        faces=len(truth),
        accuracy=_difference(seen.accuracy, drawn.accuracy),
        macro_f1=_difference(seen.macro_f1, drawn.macro_f1),
        recall={EXPRESSIONS[i]: _difference(seen.recall[:, :, i], drawn.recall[:, :, i]) for i in occurring},
        support={EXPRESSIONS[i]: int(support[i]) for i in occurring},
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    """Of D tables of counts; the first axis is the model, champion first."""

    accuracy: NDArray[np.float64]
    """(2, D)."""
    macro_f1: NDArray[np.float64]
    """(2, D); 0 where no class is judged."""
    recall: NDArray[np.float64]
    """(2, D, 8); NaN where a class was not drawn."""


def _figures(tables: NDArray[np.int64], judged: NDArray[np.intp]) -> _Figures:
    """(D, 512) counts of (truth, champion, challenger) -> figures of both models."""
    whole = tables.reshape(-1, CLASSES, CLASSES, CLASSES)
    confusions = np.stack([whole.sum(axis=3), whole.sum(axis=2)])  # (2, D, true, said)
    hits = np.diagonal(confusions, axis1=2, axis2=3)
    true, said = confusions.sum(axis=3), confusions.sum(axis=2)
    with np.errstate(invalid="ignore"):
        recall = hits / true
    f1 = 2 * hits / np.maximum(true + said, 1)
    macro = f1[:, :, judged].mean(axis=2) if len(judged) else np.zeros(f1.shape[:2])
    return _Figures(hits.sum(axis=2) / true.sum(axis=2), macro, recall)


def _difference(seen: NDArray[np.float64], drawn: NDArray[np.float64]) -> Difference:
    """(2, 1) and (2, D) -> one figure with its bounds."""
    apart = drawn[1] - drawn[0]
    apart = apart[np.isfinite(apart)]
    lower, upper = np.quantile(apart, [1 - CONFIDENCE, CONFIDENCE]) if len(apart) else (-1.0, 1.0)
    return Difference(float(seen[0, 0]), float(seen[1, 0]), float(lower), float(upper))
