"""Virtual files of the operating system: processes, devices, settings. None is a photograph, and reading one can reveal secrets of other
programs, block for ever, or have side effects.

They are recognised by their real path and by the device number of their file system, which also finds those that are mounted elsewhere.
Mounts are read once a process.
"""

import os
from functools import cache
from pathlib import Path
from typing import Final

ROOTS: Final = ("/proc", "/sys", "/dev")
SAID: Final = "in /proc, /sys or /dev, which ferflow does not read"

_PROCESSES: Final = ("proc", "cgroup", "cgroup2", "nsfs", "selinuxfs", "smackfs", "securityfs", "binfmt_misc", "rpc_pipefs")
_KERNEL: Final = ("sysfs", "bpf", "configfs", "debugfs", "efivarfs", "fusectl", "pstore", "tracefs")
_DEVICES: Final = ("devtmpfs", "devpts", "hugetlbfs", "mqueue")
_KINDS: Final = frozenset((*_PROCESSES, *_KERNEL, *_DEVICES))
"""File systems of Linux without files of users."""
_MOUNTS: Final = Path("/proc/self/mountinfo")


def is_system_path(real: str) -> bool:
    """Whether a real path, as `os.path.realpath` gives it, leads to such a place."""
    return any(real == root or real.startswith(f"{root}/") for root in ROOTS)


def is_system_file(path: str, status: os.stat_result) -> bool:
    """Whether a path, perhaps behind links, leads to such a file or folder. status: result of `os.stat`."""
    return status.st_dev in _devices() or is_system_path(os.path.realpath(path))


@cache
def _devices() -> frozenset[int]:
    """Device numbers of the mounted file systems of these kinds; none where the system does not list them."""
    try:
        lines = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(_device(line) for line in lines if line.partition(" - ")[2].partition(" ")[0] in _KINDS)


def _device(line: str) -> int:
    """proc_pid_mountinfo(5): the third field is `major:minor`."""
    major, _, minor = line.split()[2].partition(":")
    return os.makedev(int(major), int(minor))
