"""Train a MultiscaleNet on face sets: vote targets, teachers, augmentation, averaged weights, early stop, exact resume, calibration."""

import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import TrainingError
from fer_core.evaluation import training_history
from fer_core.evaluation.evaluate import score
from fer_core.evaluation.plots import curves_png
from fer_core.evaluation.training_history import EpochRecord
from fer_core.faceset import FaceSplit, card_for_model, carve_dev, faceset_digest, held_out_pictures, join, read_card, read_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import log_loss, softmax
from fer_core.models.network import MultiscaleNet
from fer_core.models.prior import ClassPrior
from fer_core.models.store import ModelRef, ModelSpec, resolve_model, rounded, save_model
from fer_core.predict.activation_ranges import activation_ranges
from fer_core.predict.answer_rule import AnswerOptions
from fer_core.predict.predictor import Device, Predictor, torch_device
from fer_core.training.checkpoint import load_checkpoint, save_checkpoint
from fer_core.training.class_prior_fit import (
    Cosines,
    DevSet,
    Domain,
    HeldBack,
    calibration_crops,
    calibration_told,
    corrupted_domains,
    fit_class_prior,
)
from fer_core.training.config import TrainConfig
from fer_core.training.dataset import TrainingData, distill, training_data
from fer_core.training.distributed import init_distributed
from fer_core.training.reviewed_faces import keep_reviewed_faces
from fer_core.training.run import TrainingRun, log_prior, logits
from fer_core.training.teacher import AnswerTable, ModelTeacher, Teacher
from fer_core.training.tensorboard_log import TensorBoardLog

STATE: Final = "checkpoint"
OWN: Final = "held back"
"""The faces of the first set that a run is judged by."""
KEEP_AFTER: Final = 240.0
"""Seconds between checkpoints amid an epoch, on a CPU."""
OTHERS: Final = "another set "
"""Salt of what is held back of further sets."""
HISTORY: Final = "history.jsonl"
CURVES: Final = "curves.png"
EVENTS: Final = "tensorboard"


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of a training run."""

    facesets: tuple[Path, ...]
    """The held-back faces of the first one are for selection and calibration."""
    teachers: tuple[ModelRef | AnswerTable, ...] = ()
    """Models, and tables of other models' answers, whose predictions are mixed into the targets."""
    start: ModelRef | None = None
    """Model whose weights the run starts from: of the same network, but for the norm of its embedding, its class bias and its scale."""
    prevailing: tuple[Path, ...] = ()
    """Sets that take precedence: of a picture in one of them, other sets' rows are left out, and no teacher changes its targets."""

    def to_json(self) -> dict[str, Any]:
        """Digests of all of it, for the card and for the identity of a run."""
        digests = {
            "facesets": [faceset_digest(folder) for folder in self.facesets],
            "teachers": [model.digest for model in self.teachers],
            "start": None if self.start is None else self.start.digest,
        }
        # left out where there is none, so that checkpoints of earlier releases still match
        return {**digests, "prevailing": [faceset_digest(folder) for folder in self.prevailing]} if self.prevailing else digests


@dataclass(frozen=True, slots=True)
class TrainingCallbacks:
    """Progress of a run. Under `torchrun`, the first process calls `epoch`, and every process calls `step`."""

    epoch: Callable[[EpochRecord], None] = lambda record: None
    """After each epoch, once its checkpoint is written."""
    step: Callable[[int, int], None] = lambda done, steps: None
    """Within an epoch: steps done, and how many there are."""


SILENT: Final = TrainingCallbacks()


def train(  # noqa: PLR0917  (a table of plain values)
    sources: Sources,
    to: Path,
    config: TrainConfig,
    device: Device = "auto",
    resume: bool = False,
    listener: TrainingCallbacks = SILENT,
    keep_after: float = KEEP_AFTER,
) -> ModelRef:
    """Train on the sets' `train` splits and write the model `to / config.name`. Under `torchrun` every process calls this.

    With `resume` an interrupted run of the same configuration on the same sources goes on and ends with the same weights as an undisturbed
    one on the same device: after its last whole epoch, and in one process on a CPU after its last checkpoint, every `keep_after` seconds.
    """
    folder = to / config.name
    identity = {"config": config.to_json(), "sources": sources.to_json()}
    with init_distributed(torch_device(device)) as (ranks, own_device):
        learned, dev_set, unlike = _parts(sources, config, device)
        judging = dev_set.majority()
        run = TrainingRun(config, own_device, ranks, learned, sources.start)
        del learned  # on a GPU the run has a copy
        if resume:
            run.progress = load_checkpoint(folder / STATE, run.tensors(), identity)
        if ranks.first:
            _make(folder)
            models = [one for one in (*sources.teachers, sources.start) if isinstance(one, ModelRef)]
            keep_reviewed_faces(folder, sources.facesets, models)
        alone = own_device.type == "cpu" and ranks.world == 1
        keep = (lambda: save_checkpoint(folder / STATE, run.tensors(), run.progress, identity)) if alone else None
        with TensorBoardLog(folder / EVENTS, run.progress.epochs) if ranks.first else nullcontext() as log:
            while not run.finished:
                start = time.monotonic()
                loss = run.epoch(listener.step, keep, keep_after)
                record = _judged(run, judging, loss, start)
                if log is not None:
                    save_checkpoint(folder / STATE, run.tensors(), run.progress, identity)
                    training_history.append(folder / HISTORY, record)
                    log.add(record)
                    listener.epoch(record)
        if ranks.first:
            _finish(run, dev_set, unlike, folder, sources)
            _draw(folder, run.progress.best_epoch)
        ranks.barrier()
    return resolve_model(str(folder.absolute()))


def _make(folder: Path) -> None:
    """TrainingError where the folder cannot be written, before the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot write a model to {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TrainingError(f"cannot write a model to {folder} (permission denied)")


def _parts(sources: Sources, config: TrainConfig, device: Device) -> tuple[TrainingData, DevSet, tuple[DevSet, ...]]:
    """What to train on and what to judge by; too little of either is a TrainingError.

    Only the first set gives faces that a run is judged by. Pictures of held-back faces, or of any set's other splits, are not trained on
    from any set.
    """
    rest, dev = carve_dev(read_split(sources.facesets[0], "train", luma=True), config.dev_share)
    others = [carve_dev(read_split(folder, "train", luma=True), config.dev_share_others, OTHERS) for folder in sources.facesets[1:]]
    spoken = frozenset[str]().union(*(read_split(folder, "train", luma=True).pictures for folder in sources.prevailing))
    own = [rest, *(kept for kept, _ in others)]
    faces = [_prevailed(split, folder, sources, spoken) for split, folder in zip(own, sources.facesets, strict=True)]
    held_out = frozenset(dev.pictures).union(*(held.pictures for _, held in others), *map(held_out_pictures, sources.facesets))
    learned = training_data(join(faces, held_out), config.smoothing, config.balance, spoken)
    judging = DevSet.of(OWN, dev)
    if len(learned) < config.batch or not judging.agreed.any():
        found = f"{len(learned)} for training, {int(judging.agreed.sum())} held back"
        raise TrainingError(f"too few faces to train on: {found}, batches of {config.batch}")
    answers = [_teacher(one, device).answers(learned) for one in sources.teachers]
    unlike = [DevSet.of(read_card(folder).name, held) for folder, (_, held) in zip(sources.facesets[1:], others, strict=True)]
    return distill(learned, answers, config.distill), judging, tuple(one for one in unlike if len(one.classes))


def _teacher(source: ModelRef | AnswerTable, device: Device) -> Teacher:
    return source if isinstance(source, AnswerTable) else ModelTeacher(Predictor(source, device, AnswerOptions("training")))


def _prevailed(split: FaceSplit, folder: Path, sources: Sources, reviewed: Collection[str]) -> FaceSplit:
    """The faces of a set whose pictures are in no prevailing set. reviewed: pictures of those."""
    if folder in sources.prevailing or not reviewed:
        return split
    return split.take(np.array([i for i, picture in enumerate(split.pictures) if picture not in reviewed], np.intp))


def _judged(run: TrainingRun, dev_set: DevSet, train_loss: float, start: float) -> EpochRecord:
    """Score the averaged weights on the held-back faces, and count the epoch."""
    said = logits(run.average, dev_set.crops, run.device)
    figures = score(softmax(said), dev_set.classes, dev_set.present)
    loss = log_loss(said, dev_set.classes)
    run.judge(
        *run.ranks.broadcast_from_rank0((figures.accuracy, loss), run.device)
    )  # otherwise one process might stop early, and the others wait for it
    seconds = time.monotonic() - start
    return EpochRecord(run.progress.epochs, train_loss, loss, figures.accuracy, figures.macro_f1, run.learning_rate, seconds)


def _prior(
    run: TrainingRun, network: MultiscaleNet, dev_set: DevSet, unlike: Sequence[DevSet], said: NDArray[np.float64]
) -> tuple[ClassPrior, dict[str, Any]]:
    """The network's class prior with its calibrations, and what the card says of them.

    The prior is the learned class bias or, of a network without one, the log prior of its targets, which its logits hold then.
    """
    others = tuple(Domain(one.name, logits(network, one.crops, run.device), one.classes, one.agreed) for one in unlike)
    spoilt = corrupted_domains(lambda crops: logits(network, crops, run.device), dev_set)
    held_back = HeldBack(Domain(dev_set.name, said, dev_set.classes, dev_set.agreed), others, spoilt)
    config = run.config.network
    learned = np.zeros(len(config.classes)) if network.class_bias is None else network.class_bias.detach().double().cpu().numpy()
    bias = log_prior(run.material).double().cpu().numpy() if network.class_bias is None else learned
    prior = fit_class_prior(held_back, bias, Cosines(config.logit_scale, learned) if config.classifier == "cosine" else None)
    return prior, calibration_told(held_back, prior)


def _draw(folder: Path, best: int) -> None:
    """The curves of the whole run, where matplotlib is installed; a machine that only trains may lack it."""
    records = training_history.read(folder / HISTORY)
    if records and find_spec("matplotlib") is not None:
        curves_png(records, folder / CURVES, f"Training of {folder.name}", best)


def _finish(run: TrainingRun, dev_set: DevSet, unlike: Sequence[DevSet], folder: Path, sources: Sources) -> ModelRef:
    """Calibrate the best weights, as they will be stored, on the held-back faces and write the model."""
    network = rounded(run.best) if run.config.half else run.best
    said = logits(network, dev_set.crops, run.device)
    prior, calibration = _prior(run, network, dev_set, unlike, said)
    own = prior.calibrations["training"]
    judging = dev_set.majority()
    figures = score(prior.posterior(said[dev_set.agreed], "training"), judging.classes, judging.present)
    ranges = activation_ranges(network, calibration_crops(dev_set), run.device)
    spec = ModelSpec(run.config.network, own.temperature, flip=True, review=own.review, prior=prior, ranges=ranges)
    card = {
        "name": run.config.name,
        "task": "apparent facial expression of an aligned 112x112 face",
        "expressions": list(EXPRESSIONS),
        "trained_on": [card_for_model(read_card(faceset)) for faceset in sources.facesets],
        "sources": sources.to_json(),
        "training": run.config.to_json(),
        "development": {
            "faces": len(judging.classes),
            "protocol": "majority",
            "epoch": run.progress.best_epoch,
            "accuracy": figures.accuracy,
            "macro_f1": figures.macro_f1,
            "ece": figures.ece,
        },
        **calibration,
    }
    return save_model(folder, network.state_dict(), spec, card, run.config.half)
