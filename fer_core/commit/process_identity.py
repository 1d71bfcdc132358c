"""Identity of a process, from which another process determines whether it still runs."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process on one machine."""

    host: str
    """Host name, for messages."""
    place: str
    """Scope in which a process id is unique: one boot of a machine and one PID namespace."""
    pid: int
    started: str
    """Start time in the operating system's unit. Process ids are reused; the start time distinguishes the processes."""


def current_process() -> ProcessIdentity:
    """This process."""
    pid = os.getpid()
    return ProcessIdentity(platform.node() or "unknown", _place(), pid, _started(pid) or "")


def has_exited(process: ProcessIdentity) -> bool:
    """Whether the process has certainly exited. False for other machines and containers, whose processes are not visible here."""
    return process.place == _place() and _started(process.pid) != process.started


def is_running_here(process: ProcessIdentity) -> bool:
    """Whether the process is running on this machine, in this container."""
    return process.place == _place() and _started(process.pid) == process.started


def _place() -> str:
    try:
        # containers share the boot id, but each has its own PID namespace
        return f"{_BOOT.read_text().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        import psutil

        return f"{platform.node()}/{psutil.boot_time():.0f}"


def _started(pid: int) -> str | None:
    """Start time of a running process; None if there is none, or only a zombie."""
    if not _BOOT.exists():
        return _started_elsewhere(pid)
    try:
        # the name in brackets may hold any character; the state follows it, and 19 fields later the start time in clock ticks since boot
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
