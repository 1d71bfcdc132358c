"""From which confidence on the labels of an expression are right as often as asked, and how many labels that leaves."""

from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import UsageError
from fer_core.labels import EXPRESSIONS
from fer_core.validation import check_entries

CONFIDENCES: Final[tuple[float, ...]] = (*(round(0.2 + 0.02 * step, 2) for step in range(40)), 0.99)
"""At which the curve of a class is known."""
ENOUGH: Final = 20
NEVER: Final = 1.01
"""A confidence that no label has."""


@dataclass(frozen=True, slots=True)
class PrecisionCurve:
    """Precision and coverage against the least confidence, an expression each."""

    precision: tuple[tuple[float, ...], ...]
    """(8, G) share of right labels among those of this expression at or above each of `CONFIDENCES`."""
    coverage: tuple[tuple[float, ...], ...]
    """(8, G) part of the expression's labels that is."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ValueError: no such curve."""
        check_entries(self)
        for rows in (self.precision, self.coverage):
            if len(rows) != len(EXPRESSIONS) or any(len(row) != len(CONFIDENCES) or min(row) < 0 or max(row) > 1 for row in rows):
                raise ValueError(f"a precision curve has {len(EXPRESSIONS)} rows of {len(CONFIDENCES)} shares")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `asdict` gave; anything else is a TypeError, ValueError or KeyError."""
        return cls(*(tuple(tuple(row) for row in value[name]) for name in ("precision", "coverage")))

    def limits(self, precision: float) -> NDArray[np.float64]:
        """(8,) least confidence of each expression at and above which labels are right that often, `NEVER` where there is none."""
        enough = np.array(self.precision) >= precision
        return np.where(enough.any(axis=1), np.array(CONFIDENCES)[enough.argmax(axis=1)], NEVER)


def checked_precision(value: float) -> float:
    """UsageError: no share above a half and below 1."""
    if not 0.5 <= value < 1:
        raise UsageError(f"a precision is at least 0.5 and less than 1, such as 0.9, not {value:g}")
    return value


def fit_precision(probabilities: NDArray[np.float64], classes: NDArray[np.int64]) -> PrecisionCurve:
    """(N, 8) calibrated probabilities of held-back faces of true classes (N,) -> the curve.

    A share of r right ones of n is estimated as (r + 1/2) / (n + 1) (Jeffreys' prior): two right labels of two prove little. From the
    confidence on that fewer than `ENOUGH` labels have, the curve stays as it is there.
    """
    confidence, said = probabilities.max(axis=1, initial=0), probabilities.argmax(axis=1)
    precision, coverage = [], []
    for expression in range(len(EXPRESSIONS)):
        own = said == expression
        right = (classes == expression)[own]
        above = confidence[own][:, None] >= np.array(CONFIDENCES)  # (n, G)
        kept, hits = above.sum(axis=0), (above & right[:, None]).sum(axis=0)
        told = max(int((kept >= ENOUGH).sum()) - 1, 0)  # the last confidence that enough labels have
        share = (hits + 0.5) / (kept + 1)
        share[told:] = share[told]
        precision.append(tuple(float(value) for value in share.round(4)))
        coverage.append(tuple(float(value) for value in (kept / max(int(own.sum()), 1)).round(4)))
    return PrecisionCurve(tuple(precision), tuple(coverage))
