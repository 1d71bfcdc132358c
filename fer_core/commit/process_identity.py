"""Identity of a process, by which another process finds out whether it still runs."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process of one machine."""

    host: str
    """The machine's name, for people."""
    place: str
    """Where process numbers mean the same: this start of this machine, inside the same container."""
    pid: int
    started: str
    """When the process began, in the operating system's own measure: numbers of processes are given again, with another beginning."""


def current_process() -> ProcessIdentity:
    """This process."""
    pid = os.getpid()
    return ProcessIdentity(platform.node() or "unknown", _place(), pid, _started(pid) or "")


def has_exited(process: ProcessIdentity) -> bool:
    """Whether that process certainly runs no more. False for processes of other machines and containers: they cannot be seen from here."""
    return process.place == _place() and _started(process.pid) != process.started


def is_running_here(process: ProcessIdentity) -> bool:
    """Whether that process runs here and now."""
    return process.place == _place() and _started(process.pid) == process.started


def _place() -> str:
    try:
        # containers share the machine's boot but number their processes each for itself
        return f"{_BOOT.read_text().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        import psutil

        return f"{platform.node()}/{psutil.boot_time():.0f}"


def _started(pid: int) -> str | None:
    """None when no such process runs; one that has ended and waits for its parent to notice does not run."""
    if not _BOOT.exists():
        return _started_elsewhere(pid)
    try:
        # the name in brackets may hold anything; after it come the state and, 19 fields on, ticks from the machine's start
        state, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[18]


def _started_elsewhere(pid: int) -> str | None:
    """The same without /proc."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    except psutil.Error:
        return None
