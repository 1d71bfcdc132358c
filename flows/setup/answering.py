"""Prior and precision of a run, from its parameters and its model."""

from fer_core.errors import UsageError
from fer_core.models.store import ModelRef, resolve_model
from fer_core.predict import answer_rule
from fer_core.predict.answer_rule import AnswerOptions, prior_key
from fer_core.run.configuration import Answering, RunConfig
from flows.form_fields import LabellingParams


def answering(params: LabellingParams, model: ModelRef) -> Answering:
    """What a run does with aligned faces. ModelError: a prior or a precision that the model was not fitted for."""
    return answer_rule.answering(model, AnswerOptions(params.prior, params.precision))


def check_answering(params: LabellingParams, config: RunConfig) -> None:
    """UsageError: a run to be resumed has another prior or precision than asked for."""
    asked = params.prior is not None and prior_key(resolve_model(config.model), params.prior) != config.prior
    if asked or params.precision not in {None, config.precision}:
        told = f"prior {config.prior}" + ("" if config.precision is None else f" and precision {config.precision:g}")
        raise UsageError(f"run {config.run_id} was started with {told}: resume it with the same options")
