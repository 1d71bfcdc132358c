"""What processes do with the network, as strace sees it: of native libraries Python's own hooks see nothing."""

import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

SECONDS = 20
"""How long the tracer may take to write its last lines, on a busy machine."""

_PEER = re.compile(r"sa_family=AF_INET6?,.*?(?:inet_addr\(|inet_pton\(AF_INET6?, )\"([^\"]+)\"")
_HERE = ("127.", "::1", "::ffff:127.", "0.0.0.0")
_RESOLVER = "io.systemd.Resolve"
"""The local socket through which names are looked up where systemd does it."""


@dataclass(frozen=True)
class Trace:
    """Of a command and of all that it starts."""

    file: Path

    def of(self, words: Sequence[str]) -> list[str]:
        """The command line that is traced. The tracer is another process, so that the id, signals and exit code are the command's."""
        seen = "trace=connect,sendto,sendmsg,sendmmsg,execve"
        return ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-s", "512", "-e", "signal=none", "-e", seen, "-o", str(self.file), *words]

    def outside(self) -> list[str]:
        """What was sent, connected to or looked up outside this machine."""
        return [line for line in self._lines() if _is_outside(line)]

    def started(self) -> str:
        """Every program that was started, with its arguments."""
        return "\n".join(line for line in self._lines() if "execve(" in line)

    def _lines(self) -> list[str]:
        """Once the tracer has written all of them."""
        deadline = time.monotonic() + SECONDS
        while _is_held(self.file):
            assert time.monotonic() < deadline, f"{self.file} is still being written"
            time.sleep(0.05)
        return self.file.read_text(errors="replace").splitlines()


def needs_strace() -> None:
    """Skip the test where native calls cannot be seen."""
    reason = _missing()
    if reason:
        pytest.skip(reason)


@cache
def can_trace() -> bool:
    """Whether this machine has a strace that may trace."""
    return not _missing()


@cache
def _missing() -> str:
    if shutil.which("strace") is None:
        return "strace is not installed: native network calls cannot be seen"
    done = subprocess.run(Trace(Path("/dev/null")).of(["true"]), check=False, capture_output=True, text=True)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode or done.stderr else ""


def _is_outside(line: str) -> bool:
    return _RESOLVER in line or any(not peer.startswith(_HERE) for peer in _PEER.findall(line))


def _is_held(file: Path) -> bool:
    """Whether some process has it open: the tracer ends after what it traces."""
    for opened in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if opened.readlink() == file:
                return True
        except OSError:  # another user's, or gone
            continue
    return False
