"""Prefect's settings come from the environment and its profile, not from `.env`, `prefect.toml` or `pyproject.toml` beside photographs.

Prefect reads these three from the working folder, and they are code: they can name a logging configuration that calls anything, another
server, other headers. It reads them while it is imported, so this module changes that import.
"""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from importlib.abc import Loader

MODULE: Final = "prefect.settings.sources"
"""Defines the sources of settings; nothing is read before it is imported."""


def watch_import() -> None:
    """Install the finder. Called when `flows` is imported, before Prefect."""
    if MODULE not in sys.modules:
        sys.meta_path.insert(0, _Watch())


class _Watch:
    """Finds one module as usual, for a loader that changes it. It is never removed: other threads iterate over `sys.meta_path` in their
    imports, and the removal of a finder would make them skip another one, so that an existing module is not found."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != MODULE:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            # a Loader but for its base class, whose import takes 15 ms
            spec.loader = _Changed(spec.loader)  # type: ignore[assignment]  # only what imports call
        return spec


class _Changed:
    """Loads the module, then takes files of the working folder out of the sources of settings."""

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _leave_out_working_folder(module)


def _leave_out_working_folder(sources: ModuleType) -> None:
    from pathlib import Path

    home = Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser().absolute()
    os.environ.setdefault("PREFECT_PROFILES_PATH", str(home / "profiles.toml"))  # else the three files can name it, too
    for source, reads in (("FilteredDotEnvSettingsSource", "_load_env_vars"), ("TomlConfigSettingsSourceBase", "_read_files")):
        kind = getattr(sources, source)
        getattr(kind, reads)  # fails here for a release that reads in another way
        setattr(kind, reads, _nothing)


def _nothing(*_: object) -> dict[str, Any]:
    """In place of a file's settings."""
    return {}
