"""Progress of a run, for the listeners of this process: the command's progress bar, the orchestrator's artifact and log."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from fer_core.run.receipts import ShardReceipt
from tasks.execution.signals import raise_if_stop_requested


@dataclass(slots=True)
class Progress:
    """Counts of one run. Grows with every receipt."""

    total: int
    """Images to process, those of an interrupted run that is resumed included."""
    images: int = 0
    faces: int = 0
    resumed: int = 0
    """Images that an earlier attempt at the run had finished; they took no time now."""
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, receipt: ShardReceipt, *, resumed: bool = False) -> None:
        """Count one finished shard."""
        count = sum(receipt.statuses.values())
        self.images += count
        self.resumed += count if resumed else 0
        self.faces += receipt.faces
        self.statuses.update(receipt.statuses)

    def line(self) -> str:
        """`labelled images: 20 of 200 (10 %), 31 faces`."""
        return f"{counted('labelled images', self.images, self.total)}, {self.faces:,} faces"


@dataclass(slots=True)
class Tenths:
    """Which tenths of the whole have been logged."""

    logged: int = 0

    def passed(self, done: int, total: int) -> bool:
        """Whether another tenth is finished since the last time."""
        tenth = 10 * done // max(total, 1)
        if tenth <= self.logged:
            return False
        self.logged = tenth
        return True


Listener = Callable[[Progress], None]

Said = Callable[[str], None]

_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)
_warned: ContextVar[Said | None] = ContextVar("progress_warned", default=None)
_stage: ContextVar[Said | None] = ContextVar("progress_stage", default=None)


@contextmanager
def listening(listener: Listener | None = None, warned: Said | None = None, stage: Said | None = None) -> Iterator[None]:
    """Inside, call `listener` with progress, `warned` with warnings and `stage` with what is done, in the thread that reports it."""
    tokens = _listener.set(listener), _warned.set(warned), _stage.set(stage)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _warned.reset(tokens[1])
        _stage.reset(tokens[2])


def warn(sentence: str) -> None:
    """Report a warning; the run continues."""
    warned = _warned.get()
    if warned is not None:
        warned(sentence)


def stage(line: str) -> None:
    """Report what is being done, or what was found."""
    shown = _stage.get()
    if shown is not None:
        shown(line)


def report_progress(progress: Progress) -> None:
    """Report progress. KeyboardInterrupt after a request to stop."""
    raise_if_stop_requested()
    listener = _listener.get()
    if listener is not None:
        listener(progress)


def counted(stage: str, done: int | None, total: int | None) -> str:
    """`labelled images: 20 of 200 (10 %)`."""
    if done is None:
        return stage
    return f"{stage}: {done:,}" if not total else f"{stage}: {done:,} of {total:,} ({100 * done // total} %)"
