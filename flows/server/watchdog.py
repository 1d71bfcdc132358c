"""Ends the processes that a killed command left running: `python -m flows.server.watchdog MARK PID`."""

import os
import signal
import sys
import time
from typing import Final

from flows.server.session import MARK

SWEEP_SECONDS: Final = 6.0
"""Processes may still be starting others; after two sweeps that find nothing, none is left that could."""


def marked_processes(mark: str, watched: int) -> list[int]:
    """Processes of this user with the mark in their environment, except the watched one, this one, and, while the watched one is alive, its
    resource tracker of multiprocessing: that ends with its last user, and its absence causes warnings on the terminal.
    """
    import psutil

    found = []
    spared = "multiprocessing.resource_tracker" if psutil.pid_exists(watched) else None
    for process in psutil.process_iter():
        try:
            if (
                process.pid not in (os.getpid(), watched)
                and process.environ().get(MARK) == mark
                and process.status() != psutil.STATUS_ZOMBIE
                and not (spared and spared in " ".join(process.cmdline()))
            ):
                found.append(process.pid)
        except (psutil.Error, OSError):  # another user's, or gone
            continue
    return found


def kill_marked(mark: str, watched: int) -> None:
    """Kill them until there are none."""
    deadline, quiet = time.monotonic() + SWEEP_SECONDS, 0
    while quiet < 2 and time.monotonic() < deadline:
        left = marked_processes(mark, watched)
        quiet = 0 if left else quiet + 1
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue
        time.sleep(0.05)


def main() -> None:
    """Standard input is a pipe whose other end only the watched process holds: it ends with that process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.buffer.read()
    kill_marked(sys.argv[1], int(sys.argv[2]))


if __name__ == "__main__":
    main()
