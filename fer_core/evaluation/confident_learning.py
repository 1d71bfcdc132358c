"""Label errors by confident learning: labels that contradict what out-of-sample probabilities are confident of.

After Northcutt, Jiang, Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (JAIR 70, 2021). With labels s of N faces and
probabilities p of K classes that a model gives to faces it did not learn from:

    t_j     = mean of p_j over the faces labelled j                                        (2), the threshold of class j
    C_ij    = faces labelled i whose most probable class among those with p_j >= t_j is j  (1), the confident joint
    Q_ij    = C_ij / sum_j C_ij  n_i / N                                                   (3), the joint of label and true class

Faces off the diagonal of C are the candidates (the paper's method C). Q off the diagonal is the share of wrong labels, as far as the model
is right where it is confident: a weak model's own errors are in it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NOWHERE: Final = -1
"""Of a face that reaches no threshold."""
DRAWS: Final = 500
SHARE: Final = 0.95
_ROUNDING: Final = 1e-9
"""The mean of equal probabilities may be above each of them by so little."""


@dataclass(frozen=True, slots=True, eq=False)
class ConfidentJoint:
    """What the labels of N faces and K classes say together with the probabilities."""

    thresholds: NDArray[np.float64]
    """(K,); infinite for a class that no face is labelled."""
    likely: NDArray[np.int64]
    """(N,) class in which each face is counted, or `NOWHERE`."""
    counts: NDArray[np.int64]
    """(K, K) faces: rows are the given label, columns the likely class."""
    joint: NDArray[np.float64]
    """(K, K) of sum 1: estimated share of each pair of given label (rows) and true class."""

    @property
    def error_share(self) -> float:
        """Estimated share of wrong labels."""
        return float(max(0.0, 1 - np.trace(self.joint)))

    @property
    def error_shares(self) -> NDArray[np.float64]:
        """(K,) the same among the faces with each label; 0 where there is none."""
        given = self.joint.sum(axis=1)
        return np.asarray(np.where(given > 0, 1 - np.diag(self.joint) / np.where(given > 0, given, 1), 0).clip(0, 1), np.float64)


def confident_joint(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> ConfidentJoint:
    """(N, K) out-of-sample probabilities and (N,) given labels -> the joint. ValueError: no face, or shapes that disagree."""
    if probabilities.ndim != 2 or len(labels) != len(probabilities) or not len(labels):
        raise ValueError("confident learning takes (N, K) probabilities and N labels of at least one face")
    classes = probabilities.shape[1]
    faces = np.bincount(labels, minlength=classes)
    summed = np.bincount(labels, self_confidence(probabilities, labels), classes)
    thresholds = np.where(faces > 0, summed / np.maximum(faces, 1), np.inf)
    reached = probabilities >= thresholds - _ROUNDING
    likely = np.where(reached.any(axis=1), np.where(reached, probabilities, -1).argmax(axis=1), NOWHERE)
    counted = likely != NOWHERE
    counts = np.bincount(labels[counted] * classes + likely[counted], minlength=classes**2).reshape(classes, classes)
    joint = counts * (faces / np.maximum(counts.sum(axis=1), 1))[:, None]
    return ConfidentJoint(thresholds, likely.astype(np.int64), counts, joint / joint.sum())


def error_share_interval(probabilities: NDArray[np.float64], labels: NDArray[np.int64], seed: int = 0) -> tuple[float, float]:
    """95 % interval of `ConfidentJoint.error_share` by the percentile bootstrap over faces; the probabilities stay as they are."""
    random = np.random.default_rng(seed)
    draws = (random.integers(len(labels), size=len(labels)) for _ in range(DRAWS))
    shares = [confident_joint(probabilities[rows], labels[rows]).error_share for rows in draws]
    low, high = np.quantile(shares, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def self_confidence(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) probability of the given label."""
    return np.asarray(probabilities[np.arange(len(labels)), labels], np.float64)


def margin(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) in [-1, 1]: probability of the given label less the largest of the others; below 0 the model says another class."""
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -np.inf
    return np.asarray(self_confidence(probabilities, labels) - others.max(axis=1), np.float64)


def candidates(found: ConfidentJoint, probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """Numbers of the faces counted in another class than their label, the least self-confidence first, ties by their order."""
    off = np.flatnonzero((found.likely != NOWHERE) & (found.likely != labels))
    return off[np.argsort(self_confidence(probabilities, labels)[off], kind="stable")]
