"""Ctrl-C that is not lost.

A signal raises KeyboardInterrupt wherever the main thread happens to be. Inside other people's imports, callbacks and serialisers that can
be swallowed or wrapped, and the run would go on; so the wish is also remembered, and asked for at every step.
"""

import atexit
import os
import signal
import time
from types import FrameType
from typing import Final

IMPATIENCE_SECONDS: Final = 1.0
"""A terminal and a parent may both pass on one Ctrl-C: signals this close together are one."""

RETRY_SECONDS: Final = 0.05
"""How long an interrupt that came during an import waits before it looks again."""

_asked_at: float | None = None


def listen() -> None:
    """From now on SIGINT and SIGTERM stop the command, also where a shell had them ignored: whoever sends one means it."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    atexit.register(_no_retry)


def stop_requested() -> bool:
    """Whether somebody wants this process to stop."""
    return _asked_at is not None


def raise_if_stop_requested() -> None:
    """KeyboardInterrupt when somebody wants this process to stop."""
    if stop_requested():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The first signal unwinds the command. One that follows at once is the same wish; a later one means now."""
    global _asked_at  # noqa: PLW0603  (a signal handler has no other place to leave word)
    now = time.monotonic()
    if _asked_at is None:
        _asked_at = now
        _unwind(number, frame)
        return
    if now - _asked_at > IMPATIENCE_SECONDS:
        os._exit(1)  # the watchdog ends what is still running


def _unwind(_number: int, frame: FrameType | None) -> None:
    """KeyboardInterrupt, or a little later where a module is just being imported.

    Raised between the steps of an import it is swallowed, or leaves a module's lock taken, and the next thread that imports waits for ever.
    """
    if _importing(frame):
        signal.signal(signal.SIGALRM, _unwind)
        signal.setitimer(signal.ITIMER_REAL, RETRY_SECONDS)
        return
    raise KeyboardInterrupt


def _no_retry() -> None:
    """While Python ends, it takes its own handlers back: a retry that is still to come would kill the process."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
