"""Schedulers and workers of Dask as processes of their own, as a team's cluster has them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import Signed
from tests.support.native_trace import Trace
from tests.support.processes import REPOSITORY

SECONDS = 280
"""How long anything may take to start, on a busy machine."""


@dataclass(frozen=True)
class WorkerPlace:
    """Where a worker is started, and where its calls are noted."""

    environment: Mapping[str, str]
    folder: Path
    trace: Trace


class DaskParts:
    """One scheduler and its workers, ended with `close`."""

    def __init__(self, folder: Path, tls: tuple[Path, Signed] | None = None, worker: WorkerPlace | None = None) -> None:
        """tls: file of the authority, and the certificate that all of them show. worker: in which workers run, if not as the tests do."""
        folder.mkdir(parents=True, exist_ok=True)
        self._worker_place = worker
        self._folder, self._workers = folder, 0
        self._tls = [] if tls is None else ["--tls-ca-file", tls[0], "--tls-cert", tls[1].cert, "--tls-key", tls[1].key]
        protocol = "tcp" if tls is None else "tls"
        file = folder / "scheduler.json"
        where = ["--host", f"{protocol}://127.0.0.1", "--port", 0, "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]
        self._running = {"scheduler": self._start("scheduler", *where, "--scheduler-file", file)}
        deadline = time.monotonic() + SECONDS
        while not file.exists():
            assert time.monotonic() < deadline, self.said("scheduler")
            time.sleep(0.05)
        self.address: str = json.loads(file.read_text())["address"]

    def worker(self, *arguments: object, packages: Mapping[str, str] | None = None) -> str:
        """Start one and return its name. packages: that it believes to have in other versions."""
        self._workers += 1
        name = f"worker-{self._workers}"
        paths = list(pretended(self._folder / f"{name}-packages", packages or {}))
        where = [self.address, "--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--nthreads", 1, "--name", name]
        self._running[name] = self._start("worker", *where, *arguments, paths=paths, log=name)
        return name

    def kill(self, name: str) -> None:
        """With whatever it has started."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def said(self, name: str) -> str:
        """On both of its streams."""
        return (self._folder / f"{name}.log").read_text()

    def close(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def _start(self, what: str, *arguments: object, paths: Iterable[Path] = (), log: str = "") -> subprocess.Popen[bytes]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "FERFLOW", "DASK"))}
        environment = {
            **kept,
            "PYTHONPATH": os.pathsep.join(map(str, [*paths, REPOSITORY])),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        }
        line = [sys.executable, "-m", f"distributed.cli.dask_{what}", *map(str, (*self._tls, *arguments))]
        where = self._folder
        if what == "worker" and self._worker_place is not None:
            environment = {**self._worker_place.environment, "PYTHONPATH": environment["PYTHONPATH"]}
            where, line = self._worker_place.folder, self._worker_place.trace.of(line)
        with (self._folder / f"{log or what}.log").open("ab") as said:
            to = {"stdout": said, "stderr": said}
            return subprocess.Popen(line, env=environment, cwd=where, start_new_session=True, **to)


def pretended(folder: Path, packages: Mapping[str, str]) -> Iterable[Path]:
    """A folder that makes a process which has it on its path believe to have packages in other versions."""
    for package, version in packages.items():
        facts = folder / f"{package}-{version}.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return [folder] if packages else []
