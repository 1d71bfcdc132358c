"""Two folders that change places in one step, where the operating system and the filesystem can do that."""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOCAL_FILESYSTEMS: Final = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "overlay", "zfs", "bcachefs")
"""Those that only this machine writes to and reads from, so that it knows of everybody who reads."""

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


def exchanging(one: str, other: str) -> Callable[[], None]:
    """What lets two existing paths of one filesystem change places, each time it is called (Linux, renameat2). Whoever looks sees both
    before or both after. It raises OSError. All that can be done beforehand is done, since callers have microseconds.
    """
    paths = os.fsencode(one), os.fsencode(other)

    def exchange() -> None:
        if _LIBC.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), one)

    return exchange


def why_not(folder: str) -> str | None:
    """Why folders below an existing one cannot be exchanged while others read them; None when they can. In words that end a sentence."""
    if sys.platform != "linux" or not hasattr(_LIBC, "renameat2"):
        return "this system cannot exchange folders in one step"
    kind = filesystem(folder, Path("/proc/self/mountinfo").read_text(errors="surrogateescape"))
    return None if kind in LOCAL_FILESYSTEMS else f"it lies on {kind}, which other machines may be reading from"


def filesystem(folder: str, mounts: str) -> str:
    """Kind of the filesystem that a folder lies on. mounts: as /proc/self/mountinfo has them; the last of the longest points counts."""
    path, found = os.path.realpath(folder), ("", "an unknown filesystem")
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        point = left.split(" ")[4].encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):
            found = point, right.split(" ")[0]
    return found[1]
