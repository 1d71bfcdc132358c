"""Processes of multiprocessing that are started whole, or not at all.

`spawn` runs Python, then writes the process's work into a pipe. If this process ends between the two, the child reads half a pickle and
prints a traceback on the terminal. Here the two are one step, for which an ending process waits.
"""

import threading
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from typing import Final

_starting: Final = threading.Lock()


class WholeProcess(SpawnProcess):
    """A process of the `spawn` method."""

    def start(self) -> None:
        """Run Python and write its work, as one step."""
        with _starting:
            super().start()


def start_whole() -> None:
    """From now on the `spawn` context of this process, which Dask uses, starts processes in this way."""
    get_context("spawn").Process = WholeProcess  # type: ignore[misc]  # an attribute of this instance


def finish_starts(seconds: float) -> None:
    """Wait until the start in progress is complete, at most `seconds`. No process starts after this: for a process that ends."""
    _starting.acquire(timeout=seconds)
