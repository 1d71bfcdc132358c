"""Ctrl-C that is not lost.

A signal raises KeyboardInterrupt wherever the main thread happens to be. Inside other people's imports, callbacks and serialisers that can
be swallowed or wrapped, and the run would go on; so the wish is also remembered, and asked for at every step.
"""

import os
import signal
import time
from typing import Final

IMPATIENCE_SECONDS: Final = 1.0
"""A terminal and a parent may both pass on one Ctrl-C: signals this close together are one."""

_asked_at: float | None = None


def listen() -> None:
    """From now on SIGINT and SIGTERM stop the command, also where a shell had them ignored: whoever sends one means it."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)


def asked() -> bool:
    """Whether somebody wants this process to stop."""
    return _asked_at is not None


def stop_if_asked() -> None:
    """KeyboardInterrupt when somebody wants this process to stop."""
    if asked():
        raise KeyboardInterrupt


def _interrupt(_signal: int, _frame: object) -> None:
    """The first signal unwinds the command. One that follows at once is the same wish; a later one means now."""
    global _asked_at  # noqa: PLW0603  (a signal handler has no other place to leave word)
    now = time.monotonic()
    if _asked_at is None:
        _asked_at = now
        raise KeyboardInterrupt
    if now - _asked_at > IMPATIENCE_SECONDS:
        os._exit(1)  # the watchdog ends what is still running
