"""Another user of the machine: a process that gives up being root once it has loaded what it needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

UID = 65534
"""`nobody`, who owns nothing."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def become() -> None:
    """From now on this process is another user, if it was root; else it stays a process apart, of the same user."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(UID)
        os.setuid(UID)


def run(module: str, *arguments: object, timeout: float = 120) -> str:
    """What `python -m module` says, which calls `become`."""
    words = [sys.executable, "-m", module, *map(str, arguments)]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    ended = subprocess.run(words, env=environment, cwd=root, capture_output=True, text=True, timeout=timeout, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
