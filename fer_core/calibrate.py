"""Temperature scaling (Guo et al., ICML 2017) and expected calibration error."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

BINS: Final = 15


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, K) -> rows that sum to 1."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def fit_temperature(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """The temperature that minimises the log loss of `classes` (N,) under softmax(logits / T); 1 where there is nothing to fit.

    One-dimensional and unimodal in log T, so a golden-section search between 1/20 and 20 finds it.
    """
    if len(classes) == 0:
        return 1.0
    low, high = -np.log(20), np.log(20)
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if log_loss(logits / np.exp(left), classes) < log_loss(logits / np.exp(right), classes):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def log_loss(logits: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Mean negative log-likelihood of `classes` (N,)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-log_p[np.arange(len(classes)), classes].mean())


def expected_calibration_error(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins of confidence, weighted by their faces; 0 for no faces."""
    if len(classes) == 0:
        return 0.0
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == classes).astype(np.float64)
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = np.abs(np.bincount(bins, right, BINS) - np.bincount(bins, confidence, BINS))
    return float(gap.sum() / len(classes))
