"""Interrupts that are not lost.

A signal raises KeyboardInterrupt at the current position of the main thread. Imports, callbacks and serialisers of libraries can swallow or
wrap it, and the run would continue. So the request is also stored, and checked at every step.
"""

import atexit
import os
import signal
import time
from types import FrameType
from typing import Final

IMPATIENCE_SECONDS: Final = 1.0
"""A terminal and a parent process may both forward one Ctrl-C: signals this close together count as one."""

RETRY_SECONDS: Final = 0.05
"""Delay of an interrupt that arrives during an import, before the next check."""

_asked_at: float | None = None


def listen() -> None:
    """From now on SIGINT and SIGTERM stop the command, also where a shell had set them to be ignored."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    atexit.register(_no_retry)


def stop_requested() -> bool:
    """Whether this process has received a request to stop."""
    return _asked_at is not None


def raise_if_stop_requested() -> None:
    """KeyboardInterrupt after a request to stop."""
    if stop_requested():
        raise KeyboardInterrupt


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
    if _importing(frame):
        signal.signal(signal.SIGALRM, _unwind)
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
        return
    raise KeyboardInterrupt


def _no_retry() -> None:
    """At its end, Python restores its own handlers: a pending retry would kill the process."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
