"""Checks of a retraining before anything slow starts. Does not import Prefect."""

import os
from pathlib import Path

from pydantic import ValidationError

from fer_core.errors import ModelError, UsageError
from fer_core.faceset import read_card
from fer_core.models.registry import champion
from fer_core.storage.output_place import refuse_in_tables
from flows.retrain_params import RetrainParams


def retrain_params(values: dict[str, object]) -> RetrainParams:
    """UsageError in one line for invalid parameters."""
    try:
        return RetrainParams.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = _option(tuple(str(part) for part in first["loc"]))
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{option}{reason[:1].lower()}{reason[1:]}") from error


def _option(path: tuple[str, ...]) -> str:
    """The command's option for a parameter; empty for a rule over several."""
    if not path:
        return ""
    names = {"facesets": "--faceset ", "models": "MODELS ", "gate": f"--bound {path[-1]}: "}
    return names.get(path[0], f"--{path[0].replace('_', '-')} ")


def check_retrain(params: RetrainParams) -> None:
    """Check that the folder of models can be written, its champion is intact, and the face sets exist."""
    models = Path(params.models).expanduser()
    refuse_in_tables(str(models))
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cannot write models to {models} ({error.strerror})") from error
    if not os.access(models, os.W_OK | os.X_OK):
        raise ModelError(f"cannot write models to {models} (permission denied)")
    champion(models)
    for folder in params.facesets:
        read_card(Path(folder).expanduser())
