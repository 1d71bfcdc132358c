"""Flow `retrain`: trains a challenger on reviewed faces, and promotes it if it is better than the champion."""

from pathlib import Path

from prefect import flow

from fer_core.models.registry import champion
from fer_core.training.config import TrainConfig
from flows.retrain_params import RetrainParams
from tasks.artifacts.retrain import Outcome
from tasks.retrain import (
    gather_faces,
    judge_challenger,
    one_at_a_time,
    promote_challenger,
    report_retraining,
    train_challenger,
    tune_challenger,
)


@flow(name="retrain", persist_result=False, result_serializer="json")  # a retry writes down what failed
def retrain(params: RetrainParams) -> Outcome:
    """Train a challenger on base face sets and reviewed faces, compare it with the champion on the same faces, promote it if it passes.

    A challenger that fails is kept with its verdict. A retry, or a run with the same parameters, resumes an interrupted training.
    """
    models = Path(params.models).expanduser().absolute()
    base = tuple(Path(folder).expanduser().absolute() for folder in params.facesets)
    with one_at_a_time(models):
        before = champion(models)
        found = gather_faces(models, base, params.reviewed, before, config(params), params.start, params.tune)
        if found.tune == "head":
            challenger, judged = tune_challenger(models, before, found, params.gate.bounds())
        else:
            challenger = train_challenger(models, found, params.device)
            judged = judge_challenger(before, challenger, found, params.protocol, params.gate.bounds(), params.device)
        promotion = promote_challenger(models, before, challenger, judged) if judged.verdict.passed and params.promote else None
        return report_retraining(found, before, challenger, judged, promotion)


def config(params: RetrainParams) -> TrainConfig:
    """The training fields of the form; all others as for the shipped model."""
    return TrainConfig(
        epochs=params.epochs,
        batch=params.batch,
        learning_rate=params.learning_rate,
        balance=params.balance,
        seed=params.seed,
        half=True,
    )
