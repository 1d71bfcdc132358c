"""What a confusion matrix says: how many faces of each true class got each label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ConfusionFigures:
    """Figures over K classes. Means are over the classes that occur."""

    accuracy: float
    balanced_accuracy: float
    """Mean recall."""
    macro_f1: float
    precision: NDArray[np.float64]
    """(K,); 0 where nothing got the label."""
    recall: NDArray[np.float64]
    """(K,); 0 where the class does not occur."""
    f1: NDArray[np.float64]
    """(K,)."""


def confusion_matrix(truth: NDArray[np.int64], said: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """(N,) true and predicted classes -> (K, K) faces: rows are the true class, columns the predicted one."""
    return np.bincount(truth * classes + said, minlength=classes * classes).reshape(classes, classes)


def confusion_figures(confusion: NDArray[np.int64]) -> ConfusionFigures:
    """(K, K) of at least one face -> figures."""
    support, answers, hits = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    recall, precision = hits / np.maximum(support, 1), hits / np.maximum(answers, 1)
    f1 = 2 * hits / np.maximum(support + answers, 1)
    occurs = support > 0
    means = float(recall[occurs].mean()), float(f1[occurs].mean())
    return ConfusionFigures(float(hits.sum() / support.sum()), *means, precision, recall, f1)
