"""Labels that need review: those of low calibrated confidence, and those spread over many expressions."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.validation import check_entries

WRONG_AT_LEAST: Final = 0.5
"""Labels that are wrong at least this often on held-back faces need review."""
NEIGHBOURHOOD: Final = 0.1
"""Width of the window of confidence or entropy over which that is measured."""
ENOUGH: Final = 20
"""Least faces of a window."""
LEAST_CONFIDENCE: Final = 0.35
"""Below this every label needs review: with eight expressions another one is nearly as likely."""
MOST_ENTROPY: Final = 0.9
"""Above this every label needs review, for the same reason."""


@dataclass(frozen=True, slots=True)
class ReviewRule:
    """A label needs review below this confidence or above this entropy."""

    confidence: float
    """In [0, 1]."""
    entropy: float
    """In [0, 1]: in parts of ln K, the entropy of a uniform distribution."""

    def __post_init__(self) -> None:
        """TypeError: no number. ValueError: beyond its range."""
        check_entries(self)
        if not (0 <= self.confidence <= 1 and 0 <= self.entropy <= 1):
            raise ValueError("review limits are between 0 and 1")

    def applies(self, confidence: NDArray[np.floating], entropy: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(N,) and (N,) -> (N,) whether the label needs review."""
        return np.asarray((confidence < self.confidence) | (entropy > self.entropy), np.bool_)


def normalised_entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) rows of sum 1 -> (N,) Shannon entropy in parts of ln K, in [0, 1]."""
    entropy = -np.sum(probabilities * np.log(np.maximum(probabilities, 1e-12)), axis=1)
    return np.asarray(np.clip(entropy / np.log(probabilities.shape[1]), 0, 1), np.float64)


def fit_review_rule(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> ReviewRule:
    """The limits beyond which held-back faces (N, 8), of true classes (N,), are wrong at least half of the time; two decimals.

    The largest confidence, and the smallest entropy, whose neighbourhood on the doubtful side is wrong that often. Each is fitted on faces
    that the other accepts, so that entropy adds what confidence misses.
    """
    confidence, entropy = probabilities.max(axis=1, initial=0), normalised_entropy(probabilities)
    wrong = probabilities.argmax(axis=1) != classes
    low = LEAST_CONFIDENCE
    for limit in np.arange(LEAST_CONFIDENCE, 0.9, 0.01):
        if _mostly_wrong(wrong[(confidence >= limit - NEIGHBOURHOOD) & (confidence < limit)]):
            low = float(limit)
    passed = confidence >= low
    high = limit_above(entropy[passed], wrong[passed], MOST_ENTROPY, 0.3)
    return ReviewRule(round(low, 2), high)


def limit_above(doubt: NDArray[np.float64], wrong: NDArray[np.bool_], most: float, least: float) -> float:
    """The smallest doubt, (N,) of labels that are `wrong` (N,) or not, right above which labels are wrong at least half of the time.

    It is sought from `most`, which it is where there is none, down to `least`; two decimals.
    """
    found = most
    for limit in np.arange(most, least, -0.01):
        if _mostly_wrong(wrong[(doubt > limit) & (doubt <= limit + NEIGHBOURHOOD)]):
            found = float(limit)
    return round(found, 2)


def _mostly_wrong(wrong: NDArray[np.bool_]) -> bool:
    return len(wrong) >= ENOUGH and float(wrong.mean()) >= WRONG_AT_LEAST
