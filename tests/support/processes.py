"""Commands run as real processes, and one labelled root that the tests share: each start of Prefect's API costs seconds.

Fixtures for conftest.py.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.foreign_folder import ForeignFolder, foreign_folder
from tests.support.native_trace import Trace, can_trace
from tests.support.orchestrator import made_once, with_database

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 280.0
"""Seconds for anything that comes to an end: a test that waits longer has failed, on a busy machine too."""

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

    def __init__(self, home: Path, settings: Mapping[str, str] | None = None) -> None:
        """settings: in the environment of all that it starts."""
        self.home = home
        self.tag = uuid.uuid4().hex
        self._settings = dict(settings or {})

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not (name.startswith(OURS) or name in HUSHED)}
        path = os.pathsep.join(filter(None, ((extra or {}).get("PYTHONPATH"), str(REPOSITORY))))
        return {**kept, "HOME": str(self.home), "FERFLOW_TEST": self.tag, **self._settings, **(extra or {}), "PYTHONPATH": path}

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
        timeout: float = PATIENCE,
    ) -> Ended:
        process = self.start(*arguments, env=env, cwd=cwd, trace=trace)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Ended(process.returncode, out, err)

    def wait_until_gone(self, seconds: float = 10) -> None:
        """No process may outlive its command by more. Counted as looks a tenth of a second apart: where the machine is busy, looks take as
        much longer as ends do.
        """
        for _ in range(round(10 * seconds)):
            if not self.left():
                return
            time.sleep(0.1)
        assert not (left := self.left()), left

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


def wait_for_a_worker(process: "subprocess.Popen[str]", library: str = "") -> None:
    """Until the command has started a process of multiprocessing, which is loading its libraries.

    library: a file of native code that it has loaded by then, where /proc tells.
    """
    deadline = time.monotonic() + PATIENCE
    while not any("spawn_main" in words and library in loaded for words, loaded in _children(process.pid)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _children(pid: int) -> list[tuple[str, str]]:
    """Command line and loaded files of each process below one."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with suppress(psutil.Error, OSError):
            found.append((" ".join(child.cmdline()), Path(f"/proc/{child.pid}/maps").read_text() if sys.platform == "linux" else ""))
    return found


def in_process(capsys: pytest.CaptureFixture[str], *arguments: object) -> Ended:
    """What `ferflow` leaves where it runs in this process: a fraction of a second, for what needs no process of its own."""
    from flows.cli import main as cli

    try:
        code = cli.main([str(word) for word in arguments])
    except SystemExit as ended:  # wrong words
        code = int(ended.code or 0)
    return Ended(code, *capsys.readouterr())


@dataclass(frozen=True)
class LabelledRoot:
    """Two pictures, labelled in an empty home, from a folder with files of another user.

    Shared by all test processes: nothing may be written to the root.
    """

    commands: Commands
    """In a home like the one it was labelled in, which Prefect has been started in."""
    source: Path
    root: Path
    ended: Ended
    trace: Trace | None
    """None where this machine cannot trace."""
    foreign: ForeignFolder
    new_in_home: frozenset[str]


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    """An empty home of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    return Commands(home)


@pytest.fixture
def call(commands: Commands, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    """`ferflow` in this process, with the home of `commands`. For what needs no other process: an import of its own costs most of it."""
    from flows.cli.main import main

    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(commands.home))

    def called(*arguments: object) -> Ended:
        try:
            code = main([str(word) for word in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        return Ended(code, *capsys.readouterr())

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield called
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def prepared(tmp_path: Path, prefect_database: Path) -> Commands:
    """A home of the test's own in which Prefect need not build its database. For whole jobs that start a server."""
    return Commands(with_database(tmp_path / "home", prefect_database))


@pytest.fixture(scope="session")
def on_server(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Commands:
    """A home that tests share, with a server that is there already. For whole jobs to which it does not matter whose server it is."""
    return Commands(tmp_path_factory.mktemp("home on server"), {"PREFECT_API_URL": prefect_url})


@pytest.fixture(scope="session")
def two_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An astronaut with one face, six people with six."""
    return _two_pictures(tmp_path_factory.mktemp("two pictures"))


def _two_pictures(folder: Path) -> Path:
    import insightface
    from PIL import Image
    from skimage import data

    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    group = Path(insightface.__file__).parent / "data" / "images" / "t1.jpg"
    (folder / "t1.jpg").write_bytes(group.read_bytes())
    return folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> LabelledRoot:
    """The whole job once, as a person runs it first: empty home, nothing configured, and traced where that can be."""
    folder = made_once(tmp_path_factory, "labelled", _label)
    home = tmp_path_factory.mktemp("labelled home") / "home"
    shutil.copytree(folder / "home", home)
    said = json.loads((folder / "ended.json").read_text())
    trace = Trace(folder / "trace") if (folder / "trace").exists() else None
    foreign = ForeignFolder.below(folder)
    pictures, root = folder / "two pictures", folder / "labels"
    return LabelledRoot(Commands(home), pictures, root, Ended(**said), trace, foreign, files_below(folder / "home"))


def _label(folder: Path) -> None:
    home, pictures = folder / "home", folder / "two pictures"
    home.mkdir()
    pictures.mkdir()
    _two_pictures(pictures)
    commands, foreign = Commands(home), foreign_folder(folder)
    trace = Trace(folder / "trace") if can_trace() else None
    words = ("label", pictures, "--to", folder / "labels", "--run-id", "first", "--purpose", "a test")
    before = os.umask(0o022)  # the usual one, which lets others read
    loud = {"ORT_DISABLE_TELEMETRY": "0"}  # whatever the environment says
    ended = commands.run(*words, "--workers", 2, "--shard-size", 1, "--json", env=loud, cwd=foreign.path, trace=trace)
    os.umask(before)
    commands.wait_until_gone()  # the tracer among them
    (folder / "ended.json").write_text(json.dumps(asdict(ended)))


def files_below(folder: Path) -> frozenset[str]:
    """Every file in it, by its path from there."""
    return frozenset(str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir())
