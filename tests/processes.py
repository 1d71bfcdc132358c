"""Commands run as real processes, and one labelled root that the tests share: each start of Prefect's API costs seconds.

Fixtures for conftest.py.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from foreign_folder import ForeignFolder, foreign_folder
from native_trace import Trace, can_trace

REPOSITORY = Path(__file__).resolve().parents[1]

FERFLOW = (str(Path(sys.executable).with_name("ferflow")),)
"""As a person starts it: unlike `python -m`, it leaves the working folder to the command to deal with."""
OURS = ("PREFECT", "FERFLOW", "DASK", "XDG")
"""Beginnings of what is not taken over from the environment of the tests."""
HUSHED = ("CI", "TF_BUILD", "GITHUB_ACTIONS", "DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY", "PYTHONSAFEPATH")
"""Neither is what would keep a library silent, or the working folder out, without ferflow."""

NETWORK_HOOK = """
import os, socket, sys

def _hook(event, args):
    if event == "socket.connect":
        address = args[1]
        if args[0].family not in (socket.AF_INET, socket.AF_INET6) or str(address[0]) in ("127.0.0.1", "::1", "localhost"):
            return
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address = args[0]
        if address in (None, "", "127.0.0.1", "::1", "localhost", "0.0.0.0", b"127.0.0.1", b"localhost"):
            return
    elif event == "socket.sendto":
        address = args[1]
        if args[0].family not in (socket.AF_INET, socket.AF_INET6) or str(address[0]) in ("127.0.0.1", "::1", "localhost"):
            return
    else:
        return
    with open(os.environ["NETWORK_LOG"], "a") as log:
        log.write(f"{event} {address!r} {sys.argv[:3]}\\n")
    raise OSError("this test has no network")

sys.addaudithook(_hook)
with open(os.environ["NETWORK_LOG"] + ".watched", "a") as log:
    log.write(f"{os.getpid()} {sys.orig_argv[1:4]}\\n")
"""


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one object on standard output."""
        return json.loads(self.out)

    @property
    def line(self):
        """The last line on standard error."""
        return self.err.strip().splitlines()[-1]


class Commands:
    """Starts `ferflow` in a home of its own; every process it starts carries `tag` in its environment."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.tag = uuid.uuid4().hex

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not (name.startswith(OURS) or name in HUSHED)}
        path = os.pathsep.join(filter(None, ((extra or {}).get("PYTHONPATH"), str(REPOSITORY))))
        return {**kept, "HOME": str(self.home), "FERFLOW_TEST": self.tag, **(extra or {}), "PYTHONPATH": path}

    def start(
        self, *arguments: object, env: Mapping[str, str] | None = None, cwd: Path | None = None, trace: Trace | None = None
    ) -> subprocess.Popen[str]:
        """trace: where its calls are noted."""
        words = [*FERFLOW, *map(str, arguments)]
        if trace is not None:
            words = trace.of(words)
        pipe = subprocess.PIPE
        return subprocess.Popen(
            words, env=self.environment(env), cwd=cwd or self.home, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def run(
        self,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        trace: Trace | None = None,
        timeout: float = 150,
    ) -> Ended:
        process = self.start(*arguments, env=env, cwd=cwd, trace=trace)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Ended(process.returncode, out, err)

    def wait_until_gone(self, seconds: float = 10) -> None:
        """No process may outlive its command by more."""
        deadline = time.monotonic() + seconds
        while left := self.left():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)

    def left(self) -> list[str]:
        """Command lines of processes that still run."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FERFLOW_TEST") == self.tag and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(" ".join(process.cmdline()))
            except (psutil.Error, OSError):
                continue
        return found


@dataclass(frozen=True)
class LabelledRoot:
    """Two pictures, labelled in an empty home, from a folder full of what somebody else has left there."""

    commands: Commands
    source: Path
    root: Path
    ended: Ended
    trace: Trace | None
    """None where this machine cannot trace."""
    foreign: ForeignFolder
    new_in_home: frozenset[str]


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """A home of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    return Commands(home)


@pytest.fixture(scope="session")
def two_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An astronaut with one face, six people with six."""
    import insightface
    from PIL import Image
    from skimage import data

    folder = tmp_path_factory.mktemp("two pictures")
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    group = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    (folder / "t1.jpg").write_bytes(group.read_bytes())
    return folder


@pytest.fixture(scope="session")
def labelled(two_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> LabelledRoot:
    """The whole job once, as a person runs it first: empty home, nothing configured, and traced where that can be."""
    folder = tmp_path_factory.mktemp("labelled")
    home = folder / "home"
    home.mkdir()
    commands, foreign = Commands(home), foreign_folder(folder)
    trace = Trace(folder / "trace") if can_trace() else None
    words = ("label", two_pictures, "--to", folder / "labels", "--run-id", "first", "--purpose", "a test")
    loud = {"ORT_DISABLE_TELEMETRY": "0"}  # whatever the environment says
    ended = commands.run(*words, "--workers", 2, "--shard-size", 1, "--json", env=loud, cwd=foreign.path, trace=trace)
    if trace is not None:
        commands.wait_until_gone()  # the tracer among them
    return LabelledRoot(commands, two_pictures, folder / "labels", ended, trace, foreign, files_below(home))


def files_below(folder: Path) -> frozenset[str]:
    """Every file in it, by its path from there."""
    return frozenset(str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir())
