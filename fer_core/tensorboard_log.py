"""A training run's figures as TensorBoard reads them: `tensorboard --logdir MODELS`."""

from pathlib import Path
from types import TracebackType
from typing import Self

from tensorboardX import SummaryWriter

from fer_core.history import EpochRecord


class TensorBoardLog:
    """Scalars by epoch in one folder. A context manager."""

    def __init__(self, folder: Path, after: int) -> None:
        """after: epochs already done; what was logged beyond, before a kill, is hidden."""
        self._writer = SummaryWriter(str(folder), purge_step=after + 1)

    def add(self, record: EpochRecord) -> None:
        """One epoch."""
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
        self._writer.close()
