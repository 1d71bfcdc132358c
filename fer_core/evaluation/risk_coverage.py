"""How wrong a model is on the faces that it is surest of: risk against coverage (Geifman and El-Yaniv, NeurIPS 2017)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The curve of N faces, by rising coverage."""

    coverage: NDArray[np.float64]
    """(N,) part of the faces that is kept, surest first."""
    risk: NDArray[np.float64]
    """(N,) share of wrong labels among them."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RiskCoverage):
            return NotImplemented
        return np.array_equal(self.coverage, other.coverage) and np.array_equal(self.risk, other.risk)

    __hash__ = None  # type: ignore[assignment]  # arrays compare by content and may change, so the record has no hash

    @property
    def area(self) -> float:
        """Mean risk over all coverages (AURC): 0 where all labels are right; NaN without a face."""
        return float(self.risk.mean()) if len(self.risk) else float("nan")


def risk_coverage(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> RiskCoverage:
    """(N,) confidences and whether each label is right -> the curve.

    Labels of one confidence cannot be told apart: each counts as their mean.
    """
    order = np.argsort(-confidence, kind="stable")
    _, group = np.unique(confidence[order], return_inverse=True)
    wrong = (np.bincount(group, ~right[order]) / np.maximum(np.bincount(group), 1))[group]
    kept = np.arange(1, len(order) + 1)
    return RiskCoverage(kept / max(len(order), 1), np.cumsum(wrong) / kept)
