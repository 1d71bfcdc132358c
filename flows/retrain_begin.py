"""What can be said of a retraining before anything slow starts. Knows no Prefect."""

import os
from pathlib import Path

from pydantic import ValidationError

from fer_core.champion import champion
from fer_core.errors import ModelError, UsageError
from fer_core.faceset import read_card
from flows.retrain_params import RetrainParams


def retrain_params(values: dict[str, object]) -> RetrainParams:
    """UsageError in one line for what the parameters do not allow."""
    try:
        return RetrainParams.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = "".join(f"--{str(part).replace('_', '-')} " for part in first["loc"][:1])
        reason = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{option}{reason[:1].lower()}{reason[1:]}") from error


def check_retrain(params: RetrainParams) -> None:
    """The folder of models can be written, its champion is whole, and the face sets are there."""
    models = Path(params.models).expanduser()
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(f"cannot write models to {models} ({error.strerror})") from error
    if not os.access(models, os.W_OK | os.X_OK):
        raise ModelError(f"cannot write models to {models} (permission denied)")
    champion(models)
    for folder in params.facesets:
        read_card(Path(folder).expanduser())
