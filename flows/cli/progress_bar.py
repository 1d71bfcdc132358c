"""Progress of a run on standard error: a live bar on a terminal, paced lines elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fer_core.text import visible
from flows.cli.stage_progress import PacedLines, duration
from flows.output import print_line
from tasks.execution.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from flows.label_params import LabelParams


class Display:
    """Shows `Progress` and the stages around it. A context manager: its end removes the bar and keeps the lines."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._lines = None if sys.stderr.isatty() else PacedLines(clock)
        self._started = clock()

    def show(self, progress: Progress) -> None:
        """Draw, or write a line when the last one is old enough."""
        if not progress.images - progress.resumed:
            self._started = self._clock()
        rate = (progress.images - progress.resumed) / max(self._clock() - self._started, 1e-3)
        if self._bar is not None and self._task is not None:
            left = (progress.total - progress.images) / rate if rate > 0 else 0.0
            text = f"{progress.faces:,} faces  {rate:.1f} img/s" + (f"  {duration(left)} left" if rate > 0 else "")
            self._bar.update(self._task, completed=progress.images, total=progress.total, text=text, visible=True)
        elif self._lines is not None:
            self._lines.show(progress.line() + (f", {rate:.1f} images/s" if rate > 0 else ""))

    def stage(self, line: str) -> None:
        """Show the current stage."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, text=visible(line))
        elif self._lines is not None:
            self._lines.show(line)

    def warn(self, sentence: str) -> None:
        """Write a line at once."""
        line = f"note: {sentence}"
        if self._bar is None:
            print_line(line)
        else:
            self._bar.console.out(visible(line))

    def remove_bar(self) -> None:
        """Restore the terminal. Waits for no other thread."""
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Self:
        if self._lines is not None:
            self._lines.__enter__()
            self._lines.show("starting")
        else:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (SpinnerColumn(), TextColumn("images"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("images", total=None, text="starting")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._lines is not None:
            self._lines.__exit__(kind, error, trace)
        self.remove_bar()


def notices(params: "LabelParams") -> None:
    """Print the detector, the terms of its licence, and a warning where memory may be short."""
    from fer_core.detect.registry import notice, resolve
    from fer_core.storage.file_mode import open_to_others
    from fer_core.storage.output_place import partition_above
    from fer_core.storage.store import open_store

    spec = resolve(params.detector)
    chosen = " (chosen by auto)" if params.detector == "auto" else ""
    print_line(f"detector: {spec}{chosen}")
    said = notice(spec)
    if said:
        print_line(f"note: {said}")
    store = open_store(params.to)
    partition = partition_above(store)
    if partition is not None:
        print_line(f"note: the labels root lies below {partition}: readers that read partitions from the path give its rows that value")
    lets_in = open_to_others(store.root) if store.local else None
    if lets_in:
        print_line(f"note: {lets_in}")
    short = params.workers_wanted.memory_warning()
    if short:
        print_line(f"note: {short}")
