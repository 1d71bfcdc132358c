"""How far a run is, on standard error: a live bar on a terminal, a line now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from fer_core.text import visible
from flows.output import tell
from tasks.execution.progress import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from flows.label_params import LabelParams

LINE_SECONDS: Final = 10.0


class Display:
    """Shows `Progress`. A context manager: what it draws is gone afterwards."""

    def __init__(self) -> None:
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._started = self._line_at = time.monotonic()

    def show(self, progress: Progress) -> None:
        """Draw, or write a line when the last one is old enough."""
        if not progress.images - progress.resumed:
            self._started = time.monotonic()
        rate = (progress.images - progress.resumed) / max(time.monotonic() - self._started, 1e-3)
        if self._bar is not None and self._task is not None:
            left = (progress.total - progress.images) / rate if rate > 0 else 0.0
            text = f"{progress.faces:,} faces  {rate:.1f} img/s" + (f"  {_duration(left)} left" if rate > 0 else "")
            self._bar.update(self._task, completed=progress.images, total=progress.total, text=text, visible=True)
        elif time.monotonic() - self._line_at >= LINE_SECONDS:
            self._line_at = time.monotonic()
            share = 100 * progress.images / max(progress.total, 1)
            tell(f"{progress.images:,} of {progress.total:,} images ({share:.0f} %), {progress.faces:,} faces, {rate:.1f} img/s")

    def warn(self, sentence: str) -> None:
        """Write a line at once."""
        line = f"note: {sentence}"
        if self._bar is None:
            tell(line)
        else:
            self._bar.console.out(visible(line))

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415  (a tenth of a second, for terminals only)
            from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn  # noqa: PLC0415  (the same)
            from rich.progress import Progress as Bar  # noqa: PLC0415  (the same)

            columns = (SpinnerColumn(), TextColumn("images"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[text]}"))
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("images", total=None, text="starting")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


def notices(params: "LabelParams") -> None:
    """Say which detector works, what its licence demands, and where memory may be short."""
    from fer_core.detect.registry import notice, resolve  # noqa: PLC0415  (loads OpenCV)
    from fer_core.storage.file_mode import open_to_others  # noqa: PLC0415  (heavy imports come after parsing)
    from fer_core.storage.store import open_store  # noqa: PLC0415  (the same)
    from tasks.clusters.sizing import short_of_memory, sized  # noqa: PLC0415  (loads pydantic's models)

    spec = resolve(params.detector)
    chosen = " (chosen by auto)" if params.detector == "auto" else ""
    tell(f"detector: {spec}{chosen}")
    said = notice(spec)
    if said:
        tell(f"note: {said}")
    store = open_store(params.to)
    lets_in = open_to_others(store.root) if store.local else None
    if lets_in:
        tell(f"note: {lets_in}")
    short = short_of_memory(sized(params.cluster, params.workers))
    if short:
        tell(f"note: {short}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
