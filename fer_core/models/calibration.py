"""Temperature scaling (Guo et al., ICML 2017) and expected calibration error."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15
COLDEST: Final = 0.01
HOTTEST: Final = 100.0
"""A temperature is fitted between 1/20 and 20."""


def check_temperature(temperature: float) -> None:
    """ValueError: one that no fit gives; labels under it would be sure of anything, or of nothing."""
    if not COLDEST <= temperature <= HOTTEST:
        raise ValueError(f"the temperature is between {COLDEST} and {HOTTEST}")


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) -> rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def fit_temperature(logits: NDArray[np.float64], classes: NDArray[np.int64], prior: NDArray[np.float64] | float = 0.0) -> float:
    """The temperature that minimises the log loss of `classes` (N,) under softmax(logits / T + prior); 1 where there is nothing to fit.

    One-dimensional and unimodal in log T, so a golden-section search between 1/20 and 20 finds it.
    """
    if len(classes) == 0:
        return 1.0
    low, high = -np.log(20), np.log(20)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if log_loss(logits / np.exp(left) + prior, classes) < log_loss(logits / np.exp(right) + prior, classes):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def log_loss(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of `classes` (N,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(classes)), classes].mean())


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityBins:
    """Accuracy against confidence: faces in 15 equal bins of confidence, [0, 1/15) to [14/15, 1]."""

    faces: NDArray[np.int64]
    """(15,) how many."""
    right: NDArray[np.int64]
    """(15,) how many of them have the true class."""
    confidence_sum: NDArray[np.float64]
    """(15,) sum of their largest probabilities."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReliabilityBins):
            return NotImplemented
        pairs = ((self.faces, other.faces), (self.right, other.right), (self.confidence_sum, other.confidence_sum))
        return all(np.array_equal(one, two) for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content and may change, so the record has no hash

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(15,) share of the bin's faces that is right; NaN in an empty bin."""
        return _means(self.right.astype(np.float64), self.faces)

    @property
    def confidence(self) -> NDArray[np.float64]:
        """(15,) mean confidence of the bin's faces; NaN in an empty bin."""
        return _means(self.confidence_sum, self.faces)

    @property
    def ece(self) -> float:
        """Expected calibration error: mean gap between confidence and accuracy, weighted by faces; 0 for no faces."""
        return float(np.abs(self.right - self.confidence_sum).sum() / max(int(self.faces.sum()), 1))


def reliability_bins(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> ReliabilityBins:
    """(N, K) probabilities and (N,) true classes -> bins by the largest probability; ties go to the first class."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == classes
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return ReliabilityBins(
        faces=np.bincount(bins, minlength=BINS),
        right=np.bincount(bins[right], minlength=BINS),
        confidence_sum=np.bincount(bins, confidence, BINS).astype(np.float64),
    )


def expected_calibration_error(
    probabilities: NDArray[np.float64], classes: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins of confidence, weighted by their faces; 0 for no faces.

    weights: (N,) how much each face counts, where they do not count alike.
    """
    if weights is None:
        return reliability_bins(probabilities, classes).ece
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == classes
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights * (right - confidence), BINS)
    return float(np.abs(gaps).sum() / max(weights.sum(), 1e-12))


def _means(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    means = np.full(len(counts), np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means
