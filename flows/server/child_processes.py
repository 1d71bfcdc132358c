"""Python processes that the command starts: they import no module from the working folder, which may be a folder of photographs."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from fer_core.isolation import SAFE_PATH, SILENT


def python(*words: str) -> list[str]:
    """Command line of one."""
    return [sys.executable, "-P", *words]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Its environment, with additional settings: it and its children import modules from the same folders as this process."""
    return {**os.environ, **SILENT, **SAFE_PATH, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **settings}


def empty_folder(home: Path) -> Path:
    """A working folder for processes with Prefect, in its home: Prefect imports flows, and reads settings, from the working folder."""
    folder = home.absolute() / "ferflow-empty"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
