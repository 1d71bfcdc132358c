"""Python processes that the command starts: they find no module in the working folder, which may be a folder of photographs."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from fer_core.isolation import SAFE_PATH, SILENT


def python(*words: str) -> list[str]:
    """Command line of one."""
    return [sys.executable, "-P", *words]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Of one, with settings on top: it, and what it starts in turn, finds modules where this process finds them."""
    return {**os.environ, **SILENT, **SAFE_PATH, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **settings}


def empty_folder(home: Path) -> Path:
    """A working folder for those that run Prefect, in its home: Prefect imports a flow's module, and reads settings, from where it runs."""
    folder = home.absolute() / "ferflow-empty"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
