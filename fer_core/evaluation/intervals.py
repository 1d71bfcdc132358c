"""Between which bounds a model's figures lie, had other faces of the same kind been drawn."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.confusion import confusion_figures, confusion_matrix
from fer_core.evaluation.risk_coverage import risk_coverage
from fer_core.models.calibration import expected_calibration_error

DRAWS: Final = 1000
SHARE: Final = 0.95
FIGURES: Final = ("accuracy", "balanced_accuracy", "macro_f1", "ece", "aurc")


def bootstrap_intervals(probabilities: NDArray[np.float64], truth: NDArray[np.int64], seed: int = 0) -> dict[str, tuple[float, float]]:
    """(N, K) probabilities and (N,) true classes -> 95 % intervals of `FIGURES`, by the percentile bootstrap over faces.

    (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.) ValueError: no face.
    """
    if len(truth) == 0:
        raise ValueError("a bootstrap needs at least one face")
    random = np.random.default_rng(seed)
    drawn = [_figures(probabilities[rows], truth[rows]) for rows in (random.integers(len(truth), size=len(truth)) for _ in range(DRAWS))]
    low, high = np.quantile(np.array(drawn), [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=0)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(FIGURES)}


def wilson(right: NDArray[np.int64], count: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's 95 % score interval (JASA 22, 1927) of a share: lower and upper ends for `right` of `count` > 0."""
    z = 1.96
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return np.maximum(middle - reach, 0.0), np.minimum(middle + reach, 1.0)


def _figures(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> tuple[float, ...]:
    said, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    seen = confusion_figures(confusion_matrix(truth, said, probabilities.shape[1]))
    ece = expected_calibration_error(probabilities, truth)
    return seen.accuracy, seen.balanced_accuracy, seen.macro_f1, ece, risk_coverage(confidence, said == truth).area
