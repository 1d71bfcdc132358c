"""Parts of a deployment as they stand on machines of their own: each in its folder, with its home, settings and temporary files.

What a part reaches beyond that is noted: ports it connects to, and files it opens or databases it uses in another part's folder.
"""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.support.processes import Commands, Ended

SECONDS = 400
"""How long anything may take; machines are crowded."""

HOOK = """
import os, sys

OWN, ALL = os.environ["PART"] + os.sep, os.environ["PARTS"] + os.sep

def _hook(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple):
        line = f"port {args[1][1]}"
    elif event in ("open", "sqlite3.connect") and isinstance(args[0], (str, bytes)):
        path = os.path.abspath(os.fsdecode(args[0]))
        if path.startswith(OWN) or not path.startswith(ALL):
            return
        line = f"file {path}"
    else:
        return
    with open(OWN + "reached", "a") as log:
        log.write(line + "\\n")

sys.addaudithook(_hook)
"""


class Part:
    """One of them."""

    def __init__(self, base: Path, name: str, tag: str, variables: Mapping[str, str] | None = None) -> None:
        self.name, self.folder = name, base / name
        for made in ("home", "work", "tmp", "hook"):
            (self.folder / made).mkdir(parents=True)
        (self.folder / "hook" / "sitecustomize.py").write_text(HOOK)
        commands = Commands(self.folder / "home")
        commands.tag = tag
        own = {"PARTS": str(base), "PART": str(self.folder), "TMPDIR": str(self.folder / "tmp"), "PYTHONPATH": str(self.folder / "hook")}
        self.environment = commands.environment({**own, **(variables or {})})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *words: object) -> "Part":
        """A command, until `stop`; what it says goes into `log`."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command(words),
                env=self.environment,
                cwd=self.folder / "work",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def run(self, *words: object) -> Ended:
        """A command to its end."""
        where = {"env": self.environment, "cwd": self.folder / "work", "stdin": subprocess.DEVNULL}
        done = subprocess.run(command(words), **where, capture_output=True, text=True, check=False, timeout=SECONDS)
        return Ended(done.returncode, done.stdout, done.stderr)

    def wait_for(self, there: Callable[[], bool]) -> None:
        """Until it is so, while the part runs."""
        deadline = time.monotonic() + SECONDS
        while not there():
            assert self.process is not None
            assert self.process.poll() is None, f"{self.name} ended: {self.said()}"
            assert time.monotonic() < deadline, f"{self.name}: {self.said()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """As a service manager does it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def said(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def ports(self) -> set[int]:
        """That any of its processes connected to."""
        return {int(what) for kind, what in self._reached() if kind == "port"}

    def foreign_files(self) -> set[str]:
        """Of other parts that any of its processes opened."""
        return {what for kind, what in self._reached() if kind == "file"}

    def _reached(self) -> list[tuple[str, str]]:
        log = self.folder / "reached"
        lines = log.read_text().splitlines() if log.exists() else []
        return [(kind, what) for kind, _, what in (line.partition(" ") for line in lines)]


def free_ports(names: Iterable[str]) -> dict[str, int]:
    """One for each."""
    with ExitStack() as stack:
        found = {name: stack.enter_context(socket.socket()) for name in names}
        for one in found.values():
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in found.items()}


def command(words: Sequence[object]) -> list[str]:
    """As it is found in the environment that runs the tests."""
    program, *rest = map(str, words)
    return [str(Path(sys.executable).with_name(program)), *rest]


def answers(url: str) -> bool:
    """Whether anything does there."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
