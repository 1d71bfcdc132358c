"""What a refitted head is worth, told by the very faces it was fitted to: whole groups are held out in turn.

The logits that faces get from heads which saw no face of their group set the temperatures and review limits of the head that saw all, and
are compared with the starting model's.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.models.calibration import expected_calibration_error, fit_temperature
from fer_core.models.precision import fit_precision
from fer_core.models.prior import PRIORS, ClassPrior, PriorCalibration, PriorName
from fer_core.models.review_thresholds import fit_review_rule
from fer_core.training.head_fit import PULL, Evidence, Head, fit_head, sample_shares

FOLDS: Final = 5
GROUPS_A_FOLD: Final = 2
"""With fewer, each group is a fold of its own."""
FEW_FACES: Final = 200
"""Below so many faces the review limits of the start are kept: they are read off neighbourhoods of 20 faces."""
DRAWS: Final = 1000


def folds(groups: Sequence[str], most: int = FOLDS, salt: str = "") -> NDArray[np.int64]:
    """(N,) number of each face's fold, by its group alone: groups are dealt out in the order of their digests. salt: draws others."""
    known = sorted(set(groups), key=lambda group: hashlib.sha256((salt + group).encode()).hexdigest())
    count = most if len(known) >= GROUPS_A_FOLD * most else len(known)
    fold_of = {group: number % count for number, group in enumerate(known)}
    return np.array([fold_of[group] for group in groups], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Faces with the logits of heads that saw no face of their group. N of them."""

    logits: NDArray[np.float64]
    """(N, 8)."""
    classes: NDArray[np.int64]
    """(N,) true expression."""
    fold: NDArray[np.int64]
    """(N,)."""

    def temperature(self, prior: ClassPrior, left_out: int | None = None) -> float:
        """Of least log loss under the shares of the expressions among the faces: it belongs to the evidence, whatever the prior.

        left_out: a fold that has no say.
        """
        told = self.fold != (-1 if left_out is None else left_out)
        classes = self.classes[told]
        return fit_temperature(self.logits[told] - np.array(prior.bias), classes, np.log(sample_shares(classes, self.logits.shape[1])))

    def probabilities(self, prior: ClassPrior, name: PriorName) -> NDArray[np.float64]:
        """(N, 8) those that a face gets where neither head nor temperature saw its group."""
        out = np.empty_like(self.logits)
        for number in np.unique(self.fold):
            own = self.fold == number
            out[own] = prior.posterior(self.logits[own], name, self.temperature(prior, int(number)))
        return out

    def calibrations(self, prior: ClassPrior) -> dict[str, PriorCalibration]:
        """What goes with the head that saw all faces, by prior."""
        temperature = round(self.temperature(prior), 4)
        fitted = dict[str, PriorCalibration]()
        for name in PRIORS:
            probabilities = prior.posterior(self.logits, name, temperature)
            few = len(self.classes) < FEW_FACES
            review = prior.calibrations[name].review if few else fit_review_rule(probabilities, self.classes)
            fitted[name] = PriorCalibration(temperature, review, fit_precision(probabilities, self.classes))
        return fitted


def hold_out(  # noqa: PLR0917  (a table of plain values)
    start: Head,
    evidence: Evidence,
    vectors: NDArray[np.float64],
    classes: NDArray[np.int64],
    groups: Sequence[str],
    pull: float = PULL,
) -> HeldOut:
    """vectors: (N, D) of faces of true classes (N,). groups: (N,), at least two different ones."""
    fold, logits = folds(groups), np.zeros((len(classes), len(start.bias)))
    for number in np.unique(fold):
        held = fold == number
        logits[held] = fit_head(start, evidence, vectors[~held], classes[~held], pull).logits(vectors[held])
    return HeldOut(logits, classes, fold)


def calibration_error_deviation(
    classes: NDArray[np.int64], before: NDArray[np.float64], after: NDArray[np.float64], groups: Sequence[str]
) -> float:
    """Standard error of the difference of two expected calibration errors on the same faces (N,), by a bootstrap over groups.

    before, after: (N, 8) probabilities.
    """
    number_of = np.unique(np.array(groups), return_inverse=True)[1]
    count, random = int(number_of.max()) + 1, np.random.default_rng(0)
    differences = []
    for _ in range(DRAWS):
        weights = np.bincount(random.integers(0, count, count), minlength=count)[number_of].astype(np.float64)
        errors = [expected_calibration_error(probabilities, classes, weights) for probabilities in (before, after)]
        differences.append(errors[1] - errors[0])
    return float(np.std(differences))
