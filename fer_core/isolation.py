"""Isolation of a process: no native library sends telemetry, and no code and no library is loaded from the working folder.

The working folder is usually a folder of photographs, whose content is not trusted.
"""

import os
import sys
from pathlib import Path
from typing import Final

SILENT: Final = {"ORT_DISABLE_TELEMETRY": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
"""ONNX Runtime's wheels send events and a device id to Microsoft unless this is set before they load, and albumentations, which insightface
loads where it is installed, queries PyPI for a newer release. Not a default but a promise: set regardless of the environment."""

OFFLINE: Final[dict[str, str | bool | int | float | list[str]]] = {"autoinstall_known_extensions": False}
"""Of a connection to DuckDB, which downloads extensions by default."""

SAFE_PATH: Final = {"PYTHONSAFEPATH": "1"}
"""Keeps Python from looking for modules in the working folder first, which it does for `-m` and `-c`, so also for spawned processes."""

PACKAGES: Final = Path(__file__).resolve().parents[1]
"""The folder that holds ferflow's packages."""


def silence_libraries() -> None:
    """For this process and those it starts, before any native library loads. Done when `fer_core` is imported."""
    os.environ.update(SILENT)
    # OpenCV's loader puts its own folder and a colon before this. With nothing behind the colon the dynamic linker of every process that is
    # started later would take libc.so.6 from the working folder. A folder without libraries is behind it instead.
    os.environ["LD_LIBRARY_PATH"] = without_working_folder(os.environ.get("LD_LIBRARY_PATH", "")) or str(Path(__file__).parent)


def isolate_command() -> None:
    """For a process of ferflow and those it starts: neither modules nor commands are taken from the working folder."""
    os.environ.update(SAFE_PATH)
    for name in ("PATH", "PYTHONPATH"):
        if name in os.environ:
            os.environ[name] = without_working_folder(os.environ[name])
    here = _working_folder()
    if here is not None:
        sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != here]


def without_working_folder(paths: str) -> str:
    """A list of folders as PATH has it, without those that mean the working folder: empty ones and `.`."""
    return os.pathsep.join(entry for entry in paths.split(os.pathsep) if entry not in ("", "."))


def _working_folder() -> Path | None:
    """None where modules must be found in it, since ferflow or Python itself is there, or where it was removed."""
    try:
        here = Path.cwd().resolve()
    except OSError:
        return None
    own = here == PACKAGES or any(here.is_relative_to(Path(prefix).resolve()) for prefix in (sys.prefix, sys.base_prefix))
    return None if own else here
