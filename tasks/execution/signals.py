"""Interrupts that are not lost.

A signal raises KeyboardInterrupt at the current position of the main thread. Imports, callbacks and serialisers of libraries can swallow or
wrap it, and the run would continue. So the request is also stored, and checked at every step.
"""

import atexit
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from tasks.execution.process_start import finish_starts

IMPATIENCE_SECONDS: Final = 1.0
"""A terminal and a parent process may both forward one Ctrl-C: signals this close together count as one."""

RETRY_SECONDS: Final = 0.05
"""Delay of an interrupt that arrives during an import, before the next check."""

_asked_at: float | None = None
_last_words: Callable[[], None] | None = None


def listen() -> None:
    """From now on SIGINT and SIGTERM stop the command, also where a shell had set them to be ignored."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    atexit.register(_ignore_signals)


def stop_requested() -> bool:
    """Whether this process has received a request to stop."""
    return _asked_at is not None


def raise_if_stop_requested() -> None:
    """KeyboardInterrupt after a request to stop."""
    if stop_requested():
        raise KeyboardInterrupt


@contextmanager
def ending_at_once(last_words: Callable[[], None]) -> Iterator[None]:
    """Inside, a request to stop ends the process with exit code 1 after `last_words`. For the time before a run begins: nothing is to be
    unwound then, the imports of that time take seconds, and the watchdog ends the other processes.
    """
    global _last_words  # noqa: PLW0603  (as below)
    _last_words = last_words
    try:
        yield
    finally:
        _last_words = None


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal unwinds the command. One that follows at once is the same request; a later one ends the process at once."""
    global _asked_at  # noqa: PLW0603  (a signal handler has no other place to store it)
    now = time.monotonic()
    if _asked_at is None:
        _asked_at = now
        _unwind(number, frame)
        return
    if now - _asked_at > IMPATIENCE_SECONDS:
        os._exit(1)  # the watchdog ends what is still running


def _unwind(_number: int, frame: FrameType | None) -> None:
    """KeyboardInterrupt, delayed while a module is being imported.

    Raised between the steps of an import it is swallowed, or leaves a module's lock held, and the next importing thread waits for ever.
    """
    if _last_words is not None:
        try:
            _last_words()
        finally:
            finish_starts(IMPATIENCE_SECONDS)
            os._exit(1)
    if _importing(frame):
        signal.signal(signal.SIGALRM, _unwind)
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
        return
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """At its end, Python restores default handlers, but for ignored signals: a pending retry would kill the process, and Ctrl-C would
    change the exit code of a command whose work is done."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGALRM, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
