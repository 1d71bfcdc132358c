"""From a network's logits to what is said of each face, under one prior."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.models.calibration import softmax
from fer_core.models.novelty import NoveltyScale
from fer_core.models.prior import ClassPrior, PriorName, bounded_log, card_shares, parse_prior, posterior, shares_text
from fer_core.models.review_thresholds import ReviewRule, normalised_entropy
from fer_core.models.store import ModelRef, ModelSpec
from fer_core.run.configuration import Answering
from fer_core.types import Predictions

DECIMALS: Final = 4
USUAL: Final[PriorName] = "tempered"
"""What unknown collections get from a model that knows its class prior."""


@dataclass(frozen=True, slots=True)
class AnswerOptions:
    """How a run wants a model's logits to be read."""

    prior: str | None = None
    """A name or eight shares, see `models.prior.parse_prior`; None: the model's usual one."""
    precision: float | None = None
    """How often labels that need no review are to be right; None: the model's own rule says which labels need review."""


MODELS_OWN: Final = AnswerOptions()


@dataclass(frozen=True, slots=True, eq=False)
class AnswerRule:
    """How the logits of one model are read."""

    ref: ModelRef
    bias: NDArray[np.float64]
    """(8,) taken off the logits: evidence is left."""
    temperature: float
    """Divides the evidence."""
    log_prior: NDArray[np.float64]
    """(8,) added then."""
    review: ReviewRule
    limits: NDArray[np.float64] | None
    """(8,) least confidence of each expression, where a precision was asked for: it decides in the place of `review`."""
    novelty: NoveltyScale | None

    def probabilities(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, 8) logits -> probabilities, not rounded.

        ModelError where a logit is no finite number: weights that are finite by themselves but too large make such, and they would do so
        with every face. Taken for a label it would be `neutral` for all.
        """
        if not np.isfinite(logits).all():
            raise ModelError(f"the model's outputs are not finite numbers: its weights are unusable: {self.ref.path}")
        return posterior(logits, self.bias, self.temperature, self.log_prior)

    def predictions(self, logits: NDArray[np.float64]) -> Predictions:
        """(N, 8) logits -> what is said of each face, rounded to four decimals; probabilities sum to 1."""
        rounded = round_to_one(self.probabilities(logits))
        confidence, entropy, expression = rounded.max(axis=1, initial=0), normalised_entropy(rounded), rounded.argmax(axis=1)
        needs_review = self.review.applies(confidence, entropy) if self.limits is None else confidence < self.limits[expression]
        novelty = None
        if self.novelty is not None:
            novelty = self.novelty.novelty(logits).round(DECIMALS)
            needs_review |= novelty > self.novelty.limit
        return Predictions(
            probabilities=rounded.astype(np.float32),
            expression=expression.astype(np.int64),
            confidence=confidence.astype(np.float32),
            entropy=entropy.astype(np.float32),
            needs_review=needs_review,
            novelty=None if novelty is None else novelty.astype(np.float32),
        )


def usual_prior(spec: ModelSpec) -> PriorName:
    """The prior of a run that names none."""
    return "training" if spec.prior is None else USUAL


def usual_prior_of(ref: ModelRef) -> PriorName:
    """The same by a model's card alone; the weights say it again when they are read."""
    spec = ref.card.get("spec")
    return USUAL if isinstance(spec, dict) and spec.get("prior") else "training"


def prior_key(ref: ModelRef, prior: str) -> str:
    """What a run keeps of a prior: its name or shares, and with a model that does not know its class bias the card's shares, too.

    UsageError: no prior. ModelError: one that this model cannot answer under.
    """
    chosen = parse_prior(prior)
    text = chosen if isinstance(chosen, str) else shares_text(chosen)
    if chosen == "training" or usual_prior_of(ref) != "training":
        return text
    return f"{text} for {shares_text(card_shares(ref.card))}"


def answering(ref: ModelRef, options: AnswerOptions = MODELS_OWN) -> Answering:
    """What a run with these options does with aligned faces. ModelError: a prior or a precision that the model was not fitted for."""
    prior = prior_key(ref, options.prior or usual_prior_of(ref))
    if options.precision is not None and usual_prior_of(ref) == "training":
        raise ModelError(f"the model has no precision curve, so a precision cannot be requested: {ref.path}")
    return Answering(ref.digest, prior, options.precision)


def answer_rule(ref: ModelRef, spec: ModelSpec, options: AnswerOptions = MODELS_OWN) -> AnswerRule:
    """The rule of a model under a prior. UsageError: no prior. ModelError: what this model was not fitted for."""
    chosen = parse_prior((options.prior or usual_prior(spec)).partition(" for ")[0])
    if spec.prior is None:
        return _earlier(ref, spec, chosen, options.precision)
    known: ClassPrior = spec.prior
    if isinstance(chosen, str):
        fitted, log_prior = known.calibrations[chosen], known.log_prior(chosen)
    else:
        log_prior = bounded_log(chosen)
        fitted = known.nearest(softmax(log_prior[None])[0])
    limits = None if options.precision is None else fitted.precision.limits(options.precision)
    return AnswerRule(ref, np.array(known.bias), fitted.temperature, log_prior, fitted.review, limits, known.novelty)


def _earlier(ref: ModelRef, spec: ModelSpec, chosen: PriorName | tuple[float, ...], precision: float | None) -> AnswerRule:
    """Of a model without a known class prior: its temperature divides all, and the shares of its card are the prior that gives way."""
    if precision is not None:
        raise ModelError(f"the model has no precision curve, so a precision cannot be requested: {ref.path}")
    none = np.zeros(len(spec.network.classes))
    if chosen == "training":
        return AnswerRule(ref, none, spec.temperature, none, spec.review, None, None)
    bias = bounded_log(card_shares(ref.card))
    log_prior = bounded_log(chosen) if isinstance(chosen, tuple) else bias / 2 if chosen == "tempered" else none
    return AnswerRule(ref, bias, spec.temperature, log_prior, spec.review, None, None)


def round_to_one(probabilities: NDArray[np.float64], decimals: int = DECIMALS) -> NDArray[np.float64]:
    """Round rows (N, K) that sum to 1 so that they still do: largest remainder, ties to the first class.

    Each value moves by less than 10^-decimals, and no class overtakes another.
    """
    unit = 10**decimals
    scaled = probabilities * unit
    whole = np.floor(scaled)
    missing = unit - whole.sum(axis=1)
    # the value itself decides between equal remainders: two values one ulp apart may be equal once scaled
    rank = np.argsort(np.lexsort((-probabilities, whole - scaled)), axis=1, kind="stable")
    return np.asarray((whole + (rank < missing[:, None])) / unit, np.float64)
