"""A working folder with what others may leave among photographs: modules, libraries, commands and settings that leave a mark when used."""

import sys
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    *("flows", "tasks", "fer_core", "prefect", "uvicorn", "psutil", "pydantic", "pydantic_settings", "sqlalchemy", "aiosqlite", "httpx"),
    *("anyio", "fastapi", "starlette", "distributed", "dask", "tornado", "msgpack", "cloudpickle", "yaml", "toolz", "zict", "click"),
    *("numpy", "cv2", "PIL", "torch", "onnx", "onnxruntime", "insightface", "skimage", "pyarrow", "fsspec", "s3fs", "safetensors"),
    *("rich", "matplotlib", "duckdb", "tensorboardX", "sitecustomize", "usercustomize"),
)
LIBRARIES = ("libc.so.6", "libm.so.6", "libz.so.1", "libdl.so.2", "libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1")
COMMANDS = ("uname", "file", "ldconfig", "nvidia-smi", "sh", "lscpu", "gcc", "cc")

_MODULE = """
import posix

try:
    posix.close(posix.open({used!r} + "/" + __spec__.name, posix.O_WRONLY | posix.O_CREAT, 0o666))
except OSError:
    pass
raise SystemExit("the working folder is code: " + __spec__.name)
"""


@dataclass(frozen=True)
class ForeignFolder:
    """Where commands are started."""

    path: Path
    used: Path
    """A folder of marks, one named after each thing that was used."""

    @classmethod
    def below(cls, place: Path) -> "ForeignFolder":
        """Where it is, or will be, below `place`."""
        return cls(place / "photos of somebody", place / "used")

    def marks(self) -> list[str]:
        """What was used of it."""
        return sorted(mark.name for mark in self.used.iterdir())


def foreign_folder(place: Path) -> ForeignFolder:
    """Made below `place`."""
    folder = ForeignFolder.below(place)
    folder.path.mkdir()
    folder.used.mkdir()
    code = _MODULE.format(used=str(folder.used))
    for name in {*sys.stdlib_module_names, *PACKAGES} - {"__main__"}:
        (folder.path / f"{name}.py").write_text(code)
    for name in ("flows", "tasks", "fer_core"):
        (folder.path / name).mkdir()
        (folder.path / name / "__init__.py").write_text(code)
    for name in (*LIBRARIES, f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"):
        (folder.path / name).write_bytes(b"no library: whatever loads it does not start")
    for name in COMMANDS:
        command = folder.path / name
        command.write_text(f"#!/bin/sh\n/usr/bin/touch '{folder.used}/command {name}'\n")
        command.chmod(0o755)
    _settings(folder)
    return folder


def _settings(folder: ForeignFolder) -> None:
    """Prefect's, which name a logging configuration that makes a folder, and a profile that does as well."""
    logging, profiles = folder.path / "logging.yml", folder.path / "profiles.toml"
    handlers = f"handlers: {{console: {{(): os.makedirs, name: '{folder.used}/settings', exist_ok: true}}}}"
    logging.write_text(f"version: 1\ndisable_existing_loggers: false\n{handlers}\n")
    profiles.write_text(f'active = "theirs"\n[profiles.theirs]\nPREFECT_LOGGING_SETTINGS_PATH = "{logging}"\n')
    (folder.path / ".env").write_text(f"PREFECT_LOGGING_SETTINGS_PATH={logging}\nPREFECT_PROFILES_PATH={profiles}\n")
    (folder.path / "prefect.toml").write_text(f'profiles_path = "{profiles}"\n[logging]\nconfig_path = "{logging}"\n')
    (folder.path / "pyproject.toml").write_text(f'[tool.prefect.logging]\nconfig_path = "{logging}"\n')
