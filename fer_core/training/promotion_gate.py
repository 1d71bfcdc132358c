"""The promotion gate of a retrained model: bounds, checks, and a verdict with its reasons."""

from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.models.calibration import reliability_bins
from fer_core.training.paired_bootstrap import Comparison, Difference, compare_paired
from fer_core.validation import check_entries

OCCLUSION: Final = "occlusion"
POSE: Final = "rotation"
"""Heads turned in the picture's plane stand for pose: turning a face out of the plane cannot be simulated on a crop."""
CORRUPTIONS: Final = (OCCLUSION, POSE)
STRENGTH: Final = 3
"""Of the five strengths of `fer_core.evaluation.corruption`."""


@dataclass(frozen=True, slots=True)
class GateBounds:
    """Bounds for a challenger. Accuracies, recalls and F1 are shares, so 0.01 is one point."""

    accuracy: float = -0.003
    """Least lower bound (95 %, paired bootstrap) of the difference in accuracy."""
    macro_f1: float = -0.02
    """The same for macro F1 over the classes with enough faces."""
    recall: float = -0.1
    """The same for the recall of each class with enough faces."""
    support: int = 100
    """Faces from which a class is judged; rarer ones are reported."""
    calibration: float = 0.02
    """Most by which the expected calibration error may exceed the champion's."""
    robustness: float = -0.02
    """Least lower bound of the difference in accuracy on covered and on turned faces."""
    speed: float = 0.8
    """Least faces a second, as a share of the champion's."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ModelError: bounds that no model, or every model, passes."""
        check_entries(self)
        if not all(-1 <= bound <= 1 for bound in (self.accuracy, self.macro_f1, self.recall, self.robustness, self.calibration)):
            raise ModelError("bounds on accuracy, macro F1, recall, robustness and calibration are shares between -1 and 1")
        if self.support < 1 or not 0 <= self.speed <= 10:
            raise ModelError("the least number of faces of a class is 1 or more, and the bound on speed is between 0 and 10")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `asdict` gives, entries may be left out."""
        try:
            return cls(**value)
        except TypeError as error:
            raise ModelError(f"the gate's bounds have a wrong entry: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class GateOutputs:
    """One model on the gate's N faces."""

    name: str
    digest: str
    clean: NDArray[np.float64]
    """(N, 8) calibrated probabilities, over the classes that the set has; the others are 0."""
    corrupted: dict[str, NDArray[np.int64]]
    """(N,) predicted classes, for each of `CORRUPTIONS`."""
    faces_per_second: float
    """Measured in turns with the other model on the same faces."""


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the gate."""

    name: str
    champion: float
    challenger: float
    measured: float
    """The figure that is compared with the bound: a lower bound, an excess or a ratio."""
    bound: float
    passed: bool
    asked: bool = True
    """Whether the verdict depends on it; else it is reported only."""

    def sentence(self) -> str:
        """Why it failed, or that it held."""
        return f"{self.name}: {self.measured:+.4f} against a bound of {self.bound:+.4f}, {'held' if self.passed else 'not held'}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The gate's result for a challenger."""

    passed: bool
    champion: str
    """Digests."""
    challenger: str
    faces: int
    checks: tuple[Check, ...]
    unjudged: dict[str, int]
    """Expression -> faces, of those with too few to be judged."""
    comparison: Comparison

    @property
    def reasons(self) -> tuple[str, ...]:
        """The failed checks; none where the challenger passed."""
        return tuple(check.sentence() for check in self.checks if check.asked and not check.passed)

    def to_json(self) -> dict[str, Any]:
        """A JSON object: for the challenger's card and the promotion's record."""
        return {**asdict(self), "reasons": list(self.reasons)}


def judge(truth: NDArray[np.int64], champion: GateOutputs, challenger: GateOutputs, bounds: GateBounds, seed: int = 0) -> Verdict:
    """(N,) true classes and both models' predictions -> verdict. The same predictions and seed give the same verdict.

    ModelError where a model's predictions are no probabilities: comparisons with NaN fail, and `argmax` of NaN gives the first class.
    """
    clean = _compared(truth, champion, challenger, bounds, seed)
    checks = [*_answers(clean, bounds), _calibration(truth, champion, challenger, bounds.calibration)]
    for kind in CORRUPTIONS:
        corrupted = compare_paired(truth, champion.corrupted[kind], challenger.corrupted[kind], bounds.support, seed)
        checks.append(_at_least(f"accuracy under {kind}", corrupted.accuracy, bounds.robustness))
    pace = challenger.faces_per_second / max(champion.faces_per_second, 1e-9)
    checks.append(_check("speed", (champion.faces_per_second, challenger.faces_per_second, pace), bounds.speed, pace >= bounds.speed))
    return _verdict(champion, challenger, checks, clean, bounds)


def judge_tuned(truth: NDArray[np.int64], champion: GateOutputs, challenger: GateOutputs, deviation: float, bounds: GateBounds) -> Verdict:
    """The verdict on a challenger of which only the head differs, on faces of one collection.

    It passes where balanced accuracy is better, and calibration error not worse by more than `deviation`, its standard error. What the
    bounds say of the answers is reported; corruptions and speed, which depend on the network, are not measured.
    """
    clean = _compared(truth, champion, challenger, bounds, 0)
    theirs, ours = (float(np.mean([getattr(one, role) for one in clean.recall.values()])) for role in ("champion", "challenger"))
    checks = [
        _check("balanced accuracy", (theirs, ours, ours - theirs), 0.0, ours > theirs),
        _calibration(truth, champion, challenger, deviation),
        *(replace(check, asked=False) for check in _answers(clean, bounds)),
    ]
    return _verdict(champion, challenger, checks, clean, bounds)


def _compared(truth: NDArray[np.int64], champion: GateOutputs, challenger: GateOutputs, bounds: GateBounds, seed: int) -> Comparison:
    for answers in (champion, challenger):
        if not np.isfinite(answers.clean).all() or answers.clean.min(initial=0) < 0 or answers.clean.max(initial=0) > 1 + 1e-6:
            raise ModelError(f"the answers of {answers.name} ({answers.digest[:12]}) are not probabilities: it cannot be compared")
    return compare_paired(truth, champion.clean.argmax(axis=1), challenger.clean.argmax(axis=1), bounds.support, seed)


def _answers(clean: Comparison, bounds: GateBounds) -> list[Check]:
    """What is asked of the answers on faces as they are."""
    return [
        _at_least("accuracy", clean.accuracy, bounds.accuracy),
        *([_at_least("macro F1", clean.macro_f1, bounds.macro_f1)] if max(clean.support.values()) >= bounds.support else []),
        *(
            _at_least(f"recall of {name}", one, bounds.recall)
            for name, one in clean.recall.items()
            if clean.support[name] >= bounds.support
        ),
    ]


def _verdict(champion: GateOutputs, challenger: GateOutputs, checks: list[Check], clean: Comparison, bounds: GateBounds) -> Verdict:
    unjudged = {name: count for name, count in clean.support.items() if count < bounds.support}
    passed = all(check.passed for check in checks if check.asked)
    return Verdict(passed, champion.digest, challenger.digest, clean.faces, tuple(checks), unjudged, clean)


def _at_least(name: str, difference: Difference, bound: float) -> Check:
    return _check(name, (difference.champion, difference.challenger, difference.lower), bound, difference.lower >= bound)


def _check(name: str, figures: tuple[float, float, float], bound: float, held: bool) -> Check:
    """figures: champion's, challenger's and the measured one. A figure that is not finite fails the check."""
    return Check(name, *figures, bound, held and all(map(isfinite, (*figures, bound))))


def _calibration(truth: NDArray[np.int64], champion: GateOutputs, challenger: GateOutputs, bound: float) -> Check:
    """The excess of the challenger's calibration error."""
    theirs, ours = (reliability_bins(answers.clean, truth).ece for answers in (champion, challenger))
    return _check("calibration error", (theirs, ours, ours - theirs), bound, ours - theirs <= bound)
