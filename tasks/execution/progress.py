"""How far a run has come, told to whoever listens in this process: the command's progress bar, the orchestrator's artifact."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from fer_core.run import ShardReceipt
from tasks.execution.signals import stop_if_asked


@dataclass(slots=True)
class Progress:
    """Counts of one run. Grows with every receipt."""

    total: int
    """Images to be looked at, those of an interrupted run that is resumed included."""
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


Listener = Callable[[Progress], None]

Warned = Callable[[str], None]

_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)
_warned: ContextVar[Warned | None] = ContextVar("progress_warned", default=None)


@contextmanager
def listening(listener: Listener, warned: Warned) -> Iterator[None]:
    """Call `listener` with progress and `warned` with warnings inside, in the thread that makes them."""
    tokens = _listener.set(listener), _warned.set(warned)
    try:
        yield
    finally:
        _listener.reset(tokens[0])
        _warned.reset(tokens[1])


def warn(sentence: str) -> None:
    """Pass on what a person should know although the run goes on."""
    warned = _warned.get()
    if warned is not None:
        warned(sentence)


def tell(progress: Progress) -> None:
    """Say how far the run is. KeyboardInterrupt when somebody wants it to stop."""
    stop_if_asked()
    listener = _listener.get()
    if listener is not None:
        listener(progress)
