"""Progress of a training run on standard error: a live bar on a terminal, and a line an epoch everywhere."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fer_core.text import visible
from flows.output import print_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fer_core.evaluation.training_history import EpochRecord


class EpochDisplay:
    """Shows epochs and the steps within one. A context manager: its end removes the bar and keeps the lines."""

    def __init__(self, epochs: int, shown: bool = True) -> None:
        """shown: whether to write; of several processes only one writes."""
        self._epochs, self._shown, self._best = epochs, shown, 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def step(self, done: int, steps: int) -> None:
        """Move the bar."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=steps)

    def epoch(self, record: "EpochRecord") -> None:
        """Write the epoch's line; a star marks the best one so far."""
        star = "*" if record.dev_accuracy > self._best else " "
        self._best = max(self._best, record.dev_accuracy)
        line = (
            f"epoch {record.epoch:3d}/{self._epochs}  loss {record.train_loss:.4f}  held-back loss {record.dev_loss:.4f}  "
            f"accuracy {record.dev_accuracy:.2%}{star} macro F1 {record.dev_macro_f1:.3f}  {record.seconds:.0f} s"
        )
        if self._bar is not None and self._task is not None:
            self._bar.console.print(visible(line), highlight=False, markup=False)
            following = f"epoch {record.epoch + 1}/{self._epochs}" if record.epoch < self._epochs else "calibrating"
            self._bar.update(self._task, completed=0, description=following)
        elif self._shown:
            print_line(line)

    def __enter__(self) -> Self:
        if self._shown and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
