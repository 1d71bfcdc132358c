"""An object store with weather: requests that fail as those of real ones do, listings that are late. Registered as `gs://`.

Objects are files of one folder, so that several processes see the same. What happens to a request hangs on the seed, on what is asked of
which object, and on how often that was asked in this process; not on the order in which threads ask.
"""

import errno
import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote

import fsspec
from fsspec import AbstractFileSystem

TRANSIENT = {
    "time-out": lambda: TimeoutError("timed out"),
    "500": lambda: OSError(errno.EREMOTEIO, "We encountered an internal error. Please try again."),
    "503": lambda: OSError(errno.EBUSY, "Please reduce your request rate."),
    "refused": lambda: ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
    "reset": lambda: ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
}
"""Before anything was done."""
REPORTED = "succeeded, but reported failure"
SHORT = "short body"
CHANGES = ("pipe_file", "put_file", "cp_file", "rm_file")


@dataclass
class FaultSchedule:
    """What goes wrong."""

    folder: str
    """Where the objects are."""
    seed: int = 0
    rate: float = 0.0
    """Share of requests that fail."""
    kinds: tuple[str, ...] = (*TRANSIENT, REPORTED, SHORT)
    first: int = 0
    """Every request's first so many askings fail."""
    broken_from: int | None = None
    """From this change on, counted from 0 in each process, whatever changes something is refused for good."""
    late: int = 0
    """Listings lack what the last so many changes wrote, and show what they removed. In one process only."""
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    changes: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def told(self) -> str:
        """For `FAULTY_STORE` in the environment of another process."""
        kept = {name: getattr(self, name) for name in ("folder", "seed", "rate", "kinds", "first", "broken_from", "late")}
        return json.dumps(kept)

    def strike(self, operation: str, path: str) -> str | None:
        """What befalls the next request of that kind."""
        with self.lock:
            number = self.asked[operation, path] = self.asked[operation, path] + 1
            dice = hashlib.sha256(f"{self.seed} {operation} {path} {number}".encode()).digest()
            if number > self.first and int.from_bytes(dice[:4], "big") / 2**32 >= self.rate:
                return None
            possible = [kind for kind in self.kinds if _can(kind, operation)]
            kind = possible[dice[4] % len(possible)] if possible else None
            self.failed[kind or "nothing"] += 1
            return kind


def _can(kind: str, operation: str) -> bool:
    return kind in TRANSIENT or (kind == SHORT and operation == "cat_file") or (kind == REPORTED and operation in CHANGES)


_current: list[FaultSchedule] = []


def current_schedule() -> FaultSchedule:
    """The weather of this process."""
    if not _current:
        told = json.loads(os.environ["FAULTY_STORE"])
        _current.append(FaultSchedule(**{**told, "kinds": tuple(told["kinds"])}))
    return _current[-1]


@contextmanager
def under(this: FaultSchedule) -> Iterator[FaultSchedule]:
    """`gs://` under this weather, in this process."""
    fsspec.register_implementation("gs", FaultyFileSystem, clobber=True)
    _current.append(this)
    try:
        yield this
    finally:
        _current.remove(this)


def hook(folder: Path) -> str:
    """A folder for PYTHONPATH with which every process has `gs://` under the weather in its environment."""
    folder.mkdir()
    lines = "import fsspec\nfsspec.register_implementation('gs', 'tests.faults.faulty_store.FaultyFileSystem', clobber=True)\n"
    (folder / "sitecustomize.py").write_text(lines)
    return str(folder)


class FaultyFileSystem(AbstractFileSystem):
    """As much of a filesystem as ferflow asks for."""

    protocol = "gs"
    cachable = False

    def info(self, path, **_):
        self._ask("info", path)
        found = self._look(path)
        if found is None:
            if any(key.startswith(f"{path}/") for key in self._keys()):
                return {"name": path, "size": 0, "type": "directory"}
            raise FileNotFoundError(path)
        return found

    def cat_file(self, path, start=None, end=None, **_):
        kind = self._ask("cat_file", path)
        try:
            data = self._file(path).read_bytes()[start:end]
        except OSError:
            raise FileNotFoundError(path) from None
        return data[: len(data) // 2] if kind == SHORT else data

    def pipe_file(self, path, value, **_):
        with self._changing("pipe_file", path):
            passing = self._file(path).with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
            passing.write_bytes(value)
            passing.replace(self._file(path))

    def put_file(self, lpath, rpath, **_):
        with self._changing("put_file", rpath):
            self._file(rpath).write_bytes(Path(lpath).read_bytes())

    def cp_file(self, path1, path2, **_):
        with self._changing("cp_file", path2):
            try:
                self._file(path2).write_bytes(self._file(path1).read_bytes())
            except FileNotFoundError:
                raise FileNotFoundError(path1) from None

    def rm_file(self, path):
        with self._changing("rm_file", path):
            self._file(path).unlink(missing_ok=True)

    def find(self, path, detail=False, **_):
        self._ask("find", path)
        keys = self._keys()
        recent = current_schedule().changes[len(current_schedule().changes) - current_schedule().late :] if current_schedule().late else []
        keys = (keys | {key for change, key in recent if change == "rm_file"}) - {key for change, key in recent if change != "rm_file"}
        names = sorted(key for key in keys if key == path or key.startswith(f"{path.rstrip('/')}/"))
        infos = {name: self._look(name) or {"name": name, "size": 1, "type": "file", "created": time.time()} for name in names}
        return infos if detail else names

    def _ask(self, operation, path):
        kind = current_schedule().strike(operation, path)
        if kind in TRANSIENT:
            raise TRANSIENT[kind]()
        return kind

    @contextmanager
    def _changing(self, operation, path):
        kind = self._ask(operation, path)
        with current_schedule().lock:
            number = len(current_schedule().changes)
            if current_schedule().broken_from is not None and number >= current_schedule().broken_from:
                raise PermissionError("Access Denied")
            current_schedule().changes.append((operation, path))
        yield
        if kind == REPORTED:
            raise TimeoutError("timed out")

    def _keys(self):
        return {unquote(file.name) for file in Path(current_schedule().folder).iterdir() if not file.name.endswith(".tmp")}

    def _look(self, path):
        try:
            status = self._file(path).stat()
        except OSError:
            return None
        return {"name": path, "size": status.st_size, "type": "file", "created": status.st_mtime, "ETag": f'"{status.st_mtime_ns}"'}

    def _file(self, path):
        return Path(current_schedule().folder) / quote(path, safe="")
