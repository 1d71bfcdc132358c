"""Modes of files and folders, and which of them let anyone in but their owner."""

import os
import stat
from pathlib import Path


def modes_below(folder: Path) -> dict[str, int]:
    """Of a folder (as "") and all below it but links, whose own mode says nothing."""
    below = [folder, *folder.rglob("*")]
    found = {path: os.lstat(path).st_mode for path in below}
    return {str(path.relative_to(folder)).removeprefix("."): stat.S_IMODE(mode) for path, mode in found.items() if not stat.S_ISLNK(mode)}
