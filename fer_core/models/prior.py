"""The class prior a model answers under: the one of its training, a part of it, none, or given shares of the expressions.

A model's logits are evidence plus a class bias, the log prior that training left. With the bias known, another prior p can take its place:

    probabilities = softmax((logits - bias) / T + log p)

(Saerens, Latinne, Decaestecker, Neural Computation 2002). The temperature T divides the evidence alone: a prior is calibrated already.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ModelError, UsageError
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import check_temperature, softmax
from fer_core.models.novelty import NoveltyScale
from fer_core.models.precision import PrecisionCurve
from fer_core.models.review_thresholds import ReviewRule
from fer_core.validation import check_entries

PriorName = Literal["training", "tempered", "balanced"]
PRIORS: Final[tuple[PriorName, ...]] = get_args(PriorName)
LARGEST_BIAS: Final = 50.0
"""Of a class, in logits, either way."""
SMALLEST_SHARE: Final = 1e-5
"""A class of a smaller share counts as one of this share: it stays possible."""
DECIMALS: Final = 6
"""Of the shares that a run keeps."""


@dataclass(frozen=True, slots=True)
class PriorCalibration:
    """What was fitted on held-back faces for one prior."""

    temperature: float
    """Divides the evidence."""
    review: ReviewRule
    """Which labels need review."""
    precision: PrecisionCurve
    """How often labels are right from a confidence on."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ValueError: a temperature that no fit gives."""
        check_entries(self)
        check_temperature(self.temperature)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `asdict` gave; anything else is a TypeError, ValueError or KeyError."""
        return cls(value["temperature"], ReviewRule(**value["review"]), PrecisionCurve.from_json(value["precision"]))


@dataclass(frozen=True, slots=True)
class ClassPrior:
    """A model's class prior, and how it answers under others."""

    bias: tuple[float, ...]
    """(8,) the log prior of the classes in training, in logits, in the order of `labels.EXPRESSIONS`."""
    tempered: float
    """Part of the bias that the prior `tempered` keeps."""
    calibrations: dict[str, PriorCalibration]
    """By prior."""
    novelty: NoveltyScale | None
    """None for a classifier that compares no directions."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ValueError: numbers that no training gives."""
        check_entries(self)
        if len(self.bias) != len(EXPRESSIONS) or max(map(abs, self.bias)) > LARGEST_BIAS or not 0 <= self.tempered <= 1:
            raise ValueError(f"a class prior has eight biases of at most {LARGEST_BIAS:g}, and `tempered` is between 0 and 1")
        if set(self.calibrations) != set(PRIORS):
            raise ValueError(f"a class prior is calibrated for {', '.join(PRIORS)}")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `asdict` gave; anything else is a TypeError, ValueError or KeyError."""
        calibrations = {name: PriorCalibration.from_json(one) for name, one in value["calibrations"].items()}
        novelty = None if value["novelty"] is None else NoveltyScale.from_json(value["novelty"])
        return cls(tuple(value["bias"]), value["tempered"], calibrations, novelty)

    def log_prior(self, name: PriorName) -> NDArray[np.float64]:
        """(8,) what is added to the evidence."""
        return log_prior(np.array(self.bias), self.tempered, name)

    def posterior(self, logits: NDArray[np.float64], name: PriorName, temperature: float | None = None) -> NDArray[np.float64]:
        """(N, 8) -> (N, 8) probabilities under a prior, at its own temperature unless another one is given."""
        fitted = self.calibrations[name].temperature if temperature is None else temperature
        return posterior(logits, np.array(self.bias), fitted, self.log_prior(name))

    def nearest(self, shares: NDArray[np.float64]) -> PriorCalibration:
        """The calibration of the prior from which given shares (8,) diverge least (Kullback-Leibler)."""

        def divergence(name: PriorName) -> float:
            return float((shares * (np.log(shares) - np.log(softmax(self.log_prior(name)[None])[0]))).sum())

        return self.calibrations[min(PRIORS, key=divergence)]


def log_prior(bias: NDArray[np.float64], tempered: float, name: PriorName) -> NDArray[np.float64]:
    """(8,) the part of a class bias that a prior keeps. tempered: what `tempered` keeps."""
    return bias * {"training": 1.0, "tempered": tempered, "balanced": 0.0}[name]


def posterior(
    logits: NDArray[np.float64], bias: NDArray[np.float64], temperature: float, log_p: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N, 8) logits -> (N, 8) probabilities by the module's formula. log_p: (8,) the prior, up to a constant."""
    return softmax((logits - bias) / temperature + log_p)


def normalised_shares(values: object) -> tuple[float, ...]:
    """Eight shares of the expressions, as a list or by name, of any sum -> shares of sum 1, to `DECIMALS`. UsageError for anything else."""
    if isinstance(values, Mapping):
        if set(values) != set(EXPRESSIONS):
            raise UsageError(f"a prior gives the shares of {', '.join(EXPRESSIONS)}")
        values = [values[name] for name in EXPRESSIONS]
    if not isinstance(values, list | tuple) or len(values) != len(EXPRESSIONS):
        raise UsageError(f"a prior has {len(EXPRESSIONS)} shares, of {', '.join(EXPRESSIONS)}")
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        raise UsageError("the shares of a prior are numbers")
    largest = max(values)
    if not all(math.isfinite(value) and value >= 0 for value in values) or largest <= 0:
        raise UsageError("the shares of a prior are finite numbers of at least 0, and not all 0")
    if largest < 2 and abs(sum(values) - 1) <= len(EXPRESSIONS) * 10**-DECIMALS:  # as a run keeps them: read again, they stay what they are
        return tuple(round(float(value), DECIMALS) for value in values)
    shares = np.array([value / largest for value in values], np.float64)
    return tuple(float(value) for value in np.round(shares / shares.sum(), DECIMALS))


def shares_text(shares: tuple[float, ...]) -> str:
    """As a run keeps them: `parse_prior` reads it back."""
    return ",".join(f"{share:.{DECIMALS}f}" for share in shares)


def parse_prior(text: str) -> PriorName | tuple[float, ...]:
    """A prior's name, or eight shares with commas. UsageError for anything else."""
    for name in PRIORS:
        if text == name:
            return name
    try:
        return normalised_shares([float(part) for part in text.split(",")])
    except ValueError as error:
        raise UsageError(f"a prior is {', '.join(PRIORS)}, or {len(EXPRESSIONS)} shares, not {text[:80]!r}") from error


def bounded_log(shares: tuple[float, ...]) -> NDArray[np.float64]:
    """(8,) shares -> their logarithms, none lower than that of `SMALLEST_SHARE`."""
    return np.asarray(np.log(np.maximum(shares, SMALLEST_SHARE)), np.float64)


def card_shares(card: Mapping[str, Any]) -> tuple[float, ...]:
    """Shares of the expressions in what a model was trained on, by its card: for models that do not know their class bias.

    ModelError where the card does not say them.
    """
    try:
        counts = [sum(faceset["per_class"]["train"].get(name, 0) for faceset in card["trained_on"]) for name in EXPRESSIONS]
        return normalised_shares(counts)
    except (LookupError, TypeError, AttributeError, UsageError) as error:
        raise ModelError(
            "the model has no class bias, and its card does not give the shares of the expressions in training: use --prior training"
        ) from error
