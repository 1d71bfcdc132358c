"""A training run's figures as TensorBoard reads them: `tensorboard --logdir MODELS`."""

from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fer_core.evaluation.training_history import EpochRecord

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter


class TensorBoardLog:
    """Scalars by epoch in one folder. A context manager.

    Without tensorboardX nothing is logged: a machine for training needs no more than torch, and the history has all figures.
    """

    def __init__(self, folder: Path, after: int) -> None:
        """after: epochs already done; what was logged beyond, before a kill, is hidden."""
        self._writer = _writer(folder, after) if find_spec("tensorboardX") is not None else None

    def add(self, record: EpochRecord) -> None:
        """One epoch."""
        if self._writer is None:
            return
        scalars = {
            "loss/train": record.train_loss,
            "loss/dev": record.dev_loss,
            "dev/accuracy": record.dev_accuracy,
            "dev/macro_f1": record.dev_macro_f1,
            "learning_rate": record.learning_rate,
            "seconds": record.seconds,
        }
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, record.epoch)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()


def _writer(folder: Path, after: int) -> "SummaryWriter":
    from tensorboardX import SummaryWriter

    return SummaryWriter(str(folder), purge_step=after + 1)
