"""Train a MultiscaleNet on face sets: vote targets, teachers, augmentation, averaged weights, early stop, exact resume, calibration."""

import os
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import TrainingError
from fer_core.evaluation import training_history
from fer_core.evaluation.evaluate import majority_classes, score
from fer_core.evaluation.plots import curves_png
from fer_core.evaluation.training_history import EpochRecord
from fer_core.faceset import FaceSplit, carve_dev, faceset_digest, held_out_pictures, join, read_card, read_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import fit_temperature, log_loss, softmax
from fer_core.models.review_thresholds import fit_review_rule
from fer_core.models.store import ModelRef, ModelSpec, resolve_model, rounded, save_model
from fer_core.predict.predictor import Device, Predictor, torch_device
from fer_core.training.checkpoint import load_checkpoint, save_checkpoint
from fer_core.training.config import TrainConfig
from fer_core.training.dataset import TrainingData, distill, training_data
from fer_core.training.distributed import init_distributed
from fer_core.training.run import TrainingRun, logits
from fer_core.training.tensorboard_log import TensorBoardLog

STATE: Final = "checkpoint"
HISTORY: Final = "history.jsonl"
CURVES: Final = "curves.png"
EVENTS: Final = "tensorboard"


@dataclass(frozen=True, slots=True)
class Sources:
    """Sources of a training run."""

    facesets: tuple[Path, ...]
    """The held-back faces of the first one are for selection and calibration."""
    teachers: tuple[ModelRef, ...] = ()
    """Models whose predictions are mixed into the targets."""
    start: ModelRef | None = None
    """Model of the same network whose weights the run starts from."""
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


@dataclass(frozen=True, slots=True)
class DevSet:
    """Held-back faces for evaluation, never trained on. N of them."""

    crops: NDArray[np.uint8]
    """(N, 112, 112) luma."""
    classes: NDArray[np.int64]
    """(N,) true expression, majority protocol."""
    present: tuple[str, ...]
    """The set's classes."""


def train(  # noqa: PLR0917  (a table of plain values)
    sources: Sources,
    to: Path,
    config: TrainConfig,
    device: Device = "auto",
    resume: bool = False,
    listener: TrainingCallbacks = SILENT,
) -> ModelRef:
    """Train on the sets' `train` splits and write the model `to / config.name`. Under `torchrun` every process calls this.

    With `resume` an interrupted run of the same configuration on the same sources continues after its last complete epoch and ends with the
    same weights as an uninterrupted one on the same device.
    """
    folder = to / config.name
    identity = {"config": config.to_json(), "sources": sources.to_json()}
    with init_distributed(torch_device(device)) as (ranks, own_device):
        learned, dev_set = _parts(sources, config, device)
        run = TrainingRun(config, own_device, ranks, learned, sources.start)
        del learned  # on a GPU the run has a copy
        if resume:
            run.progress = load_checkpoint(folder / STATE, run.tensors(), identity)
        if ranks.first:
            _make(folder)
        with TensorBoardLog(folder / EVENTS, run.progress.epochs) if ranks.first else nullcontext() as log:
            while not run.finished:
                start = time.monotonic()
                loss = run.epoch(listener.step)
                record = _judged(run, dev_set, loss, start)
                if log is not None:
                    save_checkpoint(folder / STATE, run.tensors(), run.progress, identity)
                    training_history.append(folder / HISTORY, record)
                    log.add(record)
                    listener.epoch(record)
        if ranks.first:
            _finish(run, dev_set, folder, sources)
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


def _parts(sources: Sources, config: TrainConfig, device: Device) -> tuple[TrainingData, DevSet]:
    """Training faces and held-back faces; too few of either is a TrainingError.

    Only the first set has held-back faces. Their pictures, and those of any set's other splits, are not trained on from any set.
    """
    rest, dev = carve_dev(read_split(sources.facesets[0], "train", luma=True), config.dev_share)
    reviewed = frozenset[str]().union(*(read_split(folder, "train", luma=True).pictures for folder in sources.prevailing))
    own = [rest, *(read_split(folder, "train", luma=True) for folder in sources.facesets[1:])]
    faces = [_prevailed(split, folder, sources, reviewed) for split, folder in zip(own, sources.facesets, strict=True)]
    held_out = frozenset(dev.pictures).union(*map(held_out_pictures, sources.facesets))
    learned = training_data(join(faces, held_out), config.smoothing, config.balance, reviewed)
    classes, kept = majority_classes(dev.votes, dev.kind)
    if len(learned) < config.batch or len(kept) == 0:
        raise TrainingError(f"too few faces to train on: {len(learned)} for training, {len(kept)} held back, batches of {config.batch}")
    teachers = [Predictor(model, device) for model in sources.teachers]
    return distill(learned, teachers, config.distill), DevSet(dev.crops[kept], classes, dev.classes)


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


def _draw(folder: Path, best: int) -> None:
    """The curves of the whole run, where matplotlib is installed; a machine that only trains may lack it."""
    records = training_history.read(folder / HISTORY)
    if records and find_spec("matplotlib") is not None:
        curves_png(records, folder / CURVES, f"Training of {folder.name}", best)


def _finish(run: TrainingRun, dev_set: DevSet, folder: Path, sources: Sources) -> ModelRef:
    """Calibrate the best weights, as they will be stored, on the held-back faces and write the model."""
    network = rounded(run.best) if run.config.half else run.best
    said = logits(network, dev_set.crops, run.device)
    temperature = fit_temperature(said, dev_set.classes)
    figures = score(softmax(said / temperature), dev_set.classes, dev_set.present)
    review = fit_review_rule(softmax(said / temperature), dev_set.classes)
    spec = ModelSpec(run.config.network, temperature, flip=True, review=review)
    card = {
        "name": run.config.name,
        "task": "apparent facial expression of an aligned 112x112 face",
        "expressions": list(EXPRESSIONS),
        "trained_on": [asdict(read_card(faceset)) for faceset in sources.facesets],
        "sources": sources.to_json(),
        "training": run.config.to_json(),
        "development": {
            "faces": len(dev_set.classes),
            "protocol": "majority",
            "epoch": run.progress.best_epoch,
            "accuracy": figures.accuracy,
            "macro_f1": figures.macro_f1,
            "ece": figures.ece,
        },
    }
    return save_model(folder, network.state_dict(), spec, card, run.config.half)
