"""How far raters agree beyond chance: Cohen's kappa of two, Krippendorff's alpha of any number, with intervals.

Cohen, "A Coefficient of Agreement for Nominal Scales" (Educational and Psychological Measurement 20, 1960); Krippendorff, "Computing
Krippendorff's Alpha-Reliability" (2011), nominal data. 1 is perfect agreement, 0 what chance gives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MISSING: Final = -1
"""A rater did not rate the unit."""
DRAWS: Final = 1000
SHARE: Final = 0.95


@dataclass(frozen=True, slots=True)
class Agreement:
    """A coefficient with its 95 % interval, by the percentile bootstrap over units. NaN where all ratings name one category."""

    units: int
    """Those that were rated by two raters or more."""
    observed: float
    """Share of the pairs of ratings of a unit that agree."""
    value: float
    low: float
    high: float


def cohen_kappa(table: NDArray[np.int64]) -> float:
    """(K, K) units by the categories of the first (rows) and second rater -> kappa; NaN without units or with one category alone."""
    shares = table / max(float(table.sum()), 1)
    chance = float(shares.sum(axis=1) @ shares.sum(axis=0))
    return float((np.trace(shares) - chance) / (1 - chance)) if table.any() and chance < 1 else float("nan")


def krippendorff_alpha(coincidences: NDArray[np.float64]) -> float:
    """(K, K) coincidences -> alpha; NaN without pairs or with one category alone."""
    totals = coincidences.sum(axis=1)
    number = float(totals.sum())
    expected = number**2 - float(totals @ totals)
    return float(1 - (number - 1) * (number - np.trace(coincidences)) / expected) if expected > 0 else float("nan")


def coincidences_of(ratings: NDArray[np.int64], categories: int) -> NDArray[np.float64]:
    """(N, R) categories or `MISSING` -> (N, K, K): each ordered pair of a unit's m ratings counts 1 / (m - 1); none where m < 2."""
    counts = (ratings[:, :, None] == np.arange(categories)).sum(axis=1).astype(np.float64)
    raters = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(categories)
    return np.asarray(pairs / np.maximum(raters - 1, 1)[:, None, None], np.float64)


def kappa_agreement(first: NDArray[np.int64], second: NDArray[np.int64], categories: int, seed: int = 0) -> Agreement:
    """(N,) categories or `MISSING` of two raters -> kappa over the units that both rated."""
    both = (first != MISSING) & (second != MISSING)
    cells = np.bincount(first[both] * categories + second[both], minlength=categories**2)

    def table(weights: NDArray[np.int64]) -> NDArray[np.int64]:
        return weights.reshape(categories, categories)

    observed = float(np.trace(table(cells)) / cells.sum()) if cells.any() else float("nan")
    low, high = _interval(cells, lambda weights: cohen_kappa(table(weights)), seed)
    return Agreement(int(both.sum()), observed, cohen_kappa(table(cells)), low, high)


def alpha_agreement(ratings: NDArray[np.int64], categories: int, seed: int = 0) -> Agreement:
    """(N, R) categories or `MISSING` of R raters -> alpha over the units with two ratings or more."""
    rated = ratings[(ratings != MISSING).sum(axis=1) >= 2]
    if not len(rated):
        return Agreement(0, *[float("nan")] * 4)
    patterns, counts = np.unique(coincidences_of(rated, categories).reshape(len(rated), -1), axis=0, return_counts=True)

    def summed(weights: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray((weights @ patterns).reshape(categories, categories), np.float64)

    whole = summed(counts)
    low, high = _interval(counts, lambda weights: krippendorff_alpha(summed(weights)), seed)
    return Agreement(len(rated), float(np.trace(whole) / whole.sum()), krippendorff_alpha(whole), low, high)


def _interval(counts: NDArray[np.int64], figure: Callable[[NDArray[np.int64]], float], seed: int) -> tuple[float, float]:
    """Drawing N units is one draw of the multinomial over their kinds, of which there are few. Draws of NaN do not count."""
    number = int(counts.sum())
    if not number:
        return float("nan"), float("nan")
    drawn = [figure(weights) for weights in np.random.default_rng(seed).multinomial(number, counts / number, DRAWS)]
    finite = [value for value in drawn if not np.isnan(value)]
    low, high = np.quantile(finite, [(1 - SHARE) / 2, (1 + SHARE) / 2]) if finite else (float("nan"), float("nan"))
    return float(low), float(high)
