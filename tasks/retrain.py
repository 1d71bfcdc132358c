"""Tasks of the flow `retrain`: gather faces, train a challenger, compare it with the champion, promote it, report."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from fer_core.errors import FaceSetError, TrainingError
from fer_core.evaluation.evaluate import Evaluation, Protocol, argmax_classes, majority_classes, score
from fer_core.evaluation.training_history import EpochRecord
from fer_core.faceset import FaceSplit
from fer_core.models.card import ModelRef
from fer_core.models.registry import Promotion, promote
from fer_core.predict.predictor import Device, Predictor
from fer_core.storage.file_mode import private_process
from fer_core.storage.store import open_store
from fer_core.training.config import TrainConfig
from fer_core.training.head_tuning import tune_head
from fer_core.training.model_comparison import compare_models, gate_splits
from fer_core.training.promotion_gate import GateBounds, Verdict, judge
from fer_core.training.retraining import How, RetrainingPlan, Tune, plan_retraining, plan_tuning
from fer_core.training.train import TrainingCallbacks, train
from tasks.artifacts.publication import publish
from tasks.artifacts.retrain import Outcome, headline, page
from tasks.execution.progress import stage
from tasks.execution.signals import raise_if_stop_requested
from tasks.task_log import log_found

VERDICT: Final = "verdict.json"
REVIEWED: Final = "reviewed"
"""Folder of the reviewed faces in a folder of models, and its kind in the registry of outputs."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """A challenger's verdict, and the figures of it and the champion on the other held-out faces."""

    verdict: Verdict
    where: str
    """Description of the faces of the gate and of the reported figures."""
    champion: Evaluation
    challenger: Evaluation


@task(name="gather-faces", cache_policy=NO_CACHE, persist_result=False)
def gather_faces(  # noqa: PLR0917  (a table of plain values)
    models: Path, base: tuple[Path, ...], reviewed: str | None, champion: ModelRef, config: TrainConfig, how: How, tune: Tune = "all"
) -> RetrainingPlan:
    """The base face sets, and the reviewed faces of a labels root as one more face set. TrainingError: they are too few."""
    raise_if_stop_requested()
    corrections = None if reviewed is None else _reviewed(models, reviewed, bool(base), all_learnt=bool(base) or tune == "head")
    if tune == "head" and corrections is not None:
        return plan_tuning(corrections, champion, config)
    found = plan_retraining(base, corrections, champion, config, how)
    log_found(f"training challenger {found.config.name}, face sets: {len(found.sources.facesets)}")
    return found


@task(name="train-challenger", cache_policy=NO_CACHE, persist_result=False)
def train_challenger(models: Path, found: RetrainingPlan, device: Device) -> ModelRef:
    """Train, or resume an interrupted run of the same faces, champion and configuration."""

    def told(record: EpochRecord) -> None:
        raise_if_stop_requested()
        accuracy = f"held-back accuracy {record.dev_accuracy:.2%}"
        log_found(f"epoch {record.epoch} of {found.config.epochs}: loss {record.train_loss:.4f}, {accuracy}")

    ref = train(found.sources, models, found.config, device, resume=True, listener=TrainingCallbacks(epoch=told))
    log_found(f"trained {ref.name} {ref.digest[:12]}")
    return ref


@task(name="tune-challenger", cache_policy=NO_CACHE, persist_result=False)
def tune_challenger(models: Path, champion: ModelRef, found: RetrainingPlan, bounds: GateBounds) -> tuple[ModelRef, GateResult]:
    """Refit the champion's head. The verdict comes from the same faces, by cross-validation, and is kept beside the challenger."""
    raise_if_stop_requested()
    stage("tuning the head")
    tuned = tune_head(champion, found.sources.facesets, models, found.config.name, bounds)
    told = tuned.model.card["tuned"]
    where = (
        f"the {told['faces']:,} reviewed faces themselves, cross-validated: whole groups ({told['groups']:,} in all) were held out in turn"
    )
    keep_verdict(tuned.model, tuned.verdict, {"protocol": "majority", "faces": where})
    gain = told["gain"]["balanced_accuracy"]
    log_found(f"tuned {tuned.model.name} on {told['faces']:,} faces: balanced accuracy {gain['start']:.2%} -> {gain['tuned']:.2%}")
    return tuned.model, GateResult(tuned.verdict, where, tuned.start, tuned.tuned)


def keep_verdict(challenger: ModelRef, verdict: Verdict, told: dict[str, str]) -> None:
    """Write the verdict beside the challenger, and log what was not held."""
    written = json.dumps({**verdict.to_json(), **told}, indent=1)
    (challenger.path / VERDICT).write_text(written + "\n", encoding="utf-8")
    for reason in verdict.reasons:
        get_run_logger().warning("not promoted: %s", reason)


@task(name="judge-challenger", cache_policy=NO_CACHE, persist_result=False)
def judge_challenger(  # noqa: PLR0917  (a table of plain values)
    champion: ModelRef, challenger: ModelRef, found: RetrainingPlan, protocol: Protocol, bounds: GateBounds, device: Device
) -> GateResult:
    """Compare both on the same held-out faces. The verdict is written beside the challenger."""
    raise_if_stop_requested()
    stage("comparing with the champion")
    faces = gate_splits(found.judge)
    models = Predictor(champion, device), Predictor(challenger, device)
    met = compare_models(faces.gate, protocol, models, found.config.seed)
    verdict = judge(met.truth, met.champion, met.challenger, bounds, found.config.seed)
    first, second = (_reported(model, faces.report, protocol) for model in models)
    gain = verdict.comparison.accuracy
    log_found(f"compared on {verdict.faces:,} faces: accuracy {gain.champion:.2%} -> {gain.challenger:.2%}")
    keep_verdict(challenger, verdict, {"protocol": protocol, "faces": faces.where})
    return GateResult(verdict, faces.where, first, second)


@task(name="promote-challenger", cache_policy=NO_CACHE, persist_result=False)
def promote_challenger(models: Path, champion: ModelRef, challenger: ModelRef, judged: GateResult) -> Promotion:
    """Promote the challenger. ModelError when the champion has changed since the comparison."""
    raise_if_stop_requested()
    first, lower = judged.verdict.checks[0], judged.verdict.comparison.accuracy.lower
    gain = f"{first.name} {first.challenger - first.champion:+.4f}" + (f", at least {lower:+.4f}" if first.name == "accuracy" else "")
    promotion = promote(models, challenger, champion.digest, f"gate passed: {gain}")
    log_found(f"promoted {challenger.name} {challenger.digest[:12]}")
    return promotion


@task(name="report-retraining", cache_policy=NO_CACHE, persist_result=False)
def report_retraining(
    found: RetrainingPlan, champion: ModelRef, challenger: ModelRef, judged: GateResult, promotion: Promotion | None
) -> Outcome:
    """Verdict, reasons, both models' figures, confusion matrices and curves, as an artifact and as a value."""
    outcome = Outcome(champion, challenger, judged.verdict, judged.where, judged.champion, judged.challenger, promotion)
    text = page(outcome, found)
    (challenger.path / "verdict.md").write_text(text, encoding="utf-8")
    publish("retraining", text, headline(outcome))
    log_found(headline(outcome))
    return outcome


def _reported(model: Predictor, faces: FaceSplit, protocol: Protocol) -> Evaluation:
    truth, kept = majority_classes(faces.votes, faces.kind) if protocol == "majority" else argmax_classes(faces.votes)
    return score(model.probabilities(faces.crops[kept]), truth, faces.classes)


def _reviewed(models: Path, root: str, can_do_without: bool, all_learnt: bool) -> Path | None:
    """The reviewed faces of a labels root as a face set below the folder of models, written again each time.

    all_learnt: none is held out; the comparison is on the held-out faces of a base set, or by cross-validation.
    """
    from fer_core.review.face_set import Shares, import_reviewed

    folder = models / REVIEWED
    try:
        found = import_reviewed(open_store(root), folder, Shares(0, 0) if all_learnt else None, kind=REVIEWED)
    except FaceSetError as error:
        if not can_do_without:
            raise
        get_run_logger().warning("training on the base sets alone: %s", error)
        return None
    left_out = f"{found.orphans:,} without a current label, {found.gone:,} without a picture"
    get_run_logger().info("%d reviewed faces: %s; left out: %s", found.reviewed, found.card.counts, left_out)
    return folder


@contextmanager
def one_at_a_time(models: Path) -> Iterator[None]:
    """TrainingError when another process retrains in this folder of models. The kernel releases the lock of a killed process."""
    import fcntl

    private_process()  # also in processes that ferflow did not start: libraries write face sets and plots
    models.mkdir(parents=True, exist_ok=True)
    handle = os.open(models / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise TrainingError(f"another retraining runs in {models}: wait until it has ended") from error
    finally:
        os.close(handle)
