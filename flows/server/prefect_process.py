"""Prefect's server in a process of its own, on a socket that its parent has bound, without signals from Ctrl-C.

ferflow starts it instead of Prefect: the port is known before it starts, and its last log lines are kept for the error message.
"""

import fcntl
import http.client
import os
import re
import socket
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import SplitResult, urlsplit

from fer_core.errors import OrchestrationError
from fer_core.isolation import PACKAGES
from fer_core.storage.file_mode import OWNER, UMASK, make_folders
from flows.server.child_processes import empty_folder, environment
from flows.server.server_process import server_process

START_SECONDS: Final = 120.0
"""A fresh home has to build its database first; slow disks and small machines take a minute."""
ANSWER_SECONDS: Final = 5.0

LOCK: Final = "ferflow-up.lock"
"""Held by the `ferflow up` of this home, with its address in it."""
LONGEST_LINE: Final = 2000
"""Characters of a line that are searched; for long ones the pattern below takes quadratic time."""

_REASON: Final = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Timeout)\b.*:")
"""The line of a traceback with the error."""


class PrefectServer:
    """Starts on creation. Use it after `wait`, end it with `stop`."""

    def __init__(self, application: str, listening: socket.socket, url: str, settings: Mapping[str, str], *, verbose: bool = False) -> None:
        """application: MODULE:FACTORY. listening: a bound socket, which may be closed afterwards. url: of the API. settings: environment
        on top of this process's.
        """
        self.url = url
        self._server = server_process(verbose=verbose)
        self._process = self._server.process
        try:
            self._lock = _start_lock()
            self._started = time.monotonic()
            # uvicorn searches one folder for the application first, by default the working one
            arguments = ["--factory", application, "--app-dir", str(PACKAGES)]
            arguments += ["--log-level", "error", "--lifespan", "on", "--timeout-graceful-shutdown", "2"]
            self._server.serve(arguments, listening, environment(settings), empty_folder(prefect_home()))
        except BaseException:
            self._server.stop()
            raise

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    def wait(self, limit: float) -> None:
        """Wait until it is healthy. OrchestrationError in one line when that takes more than so many seconds from its start."""
        parts = urlsplit(self.url)
        while time.monotonic() - self._started < limit:
            if self._process.poll() is not None:
                raise OrchestrationError(f"the Prefect API did not start: {self.last_log_lines()}")
            with suppress(OSError, http.client.HTTPException):
                if http_get(parts, parts.path + "/health", ANSWER_SECONDS).status == 200:
                    self._unlock()
                    return
            time.sleep(0.05)
        raise OrchestrationError(f"the Prefect API did not start within {limit:g} s: {self.last_log_lines()}")

    def has_ended(self) -> bool:
        """Whether its process has ended."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Terminate it, and kill it after two seconds."""
        self._server.stop()
        self._unlock()

    def last_log_lines(self) -> str:
        """The last error in its output."""
        self._server.output.seek(0)
        lines = self._server.output.read().decode(errors="replace").splitlines()
        reasons = [line.strip() for line in lines if _REASON.match(line[:LONGEST_LINE])]
        if reasons:
            return " ".join(reasons[-1].split())[:300]
        return "it has not answered yet" if self._process.poll() is None else f"exit code {self._process.returncode}"

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def prefect_home() -> Path:
    """Where Prefect keeps its database."""
    return Path(os.environ.get("PREFECT_HOME") or Path("~/.prefect").expanduser())


def close_home(home: Path) -> None:
    """Deny other users access to runs and their parameters, also in files that an earlier release made."""
    found = home.stat()
    with suppress(PermissionError):  # another user's folder, with permissions of that user's choice
        if found.st_mode & UMASK and not found.st_mode & stat.S_ISVTX:  # not /tmp
            home.chmod(stat.S_IMODE(found.st_mode) & ~UMASK)
        for file in (*home.glob("prefect.db*"), *home.glob("ferflow-*")):
            file.chmod(stat.S_IMODE(file.stat().st_mode) & ~UMASK)


def lock_in_home(name: str) -> IO[bytes]:
    """A file of that name in Prefect's home, to be locked. OrchestrationError where it cannot be created."""
    try:
        make_folders(str(prefect_home()), OWNER)
        close_home(prefect_home())
        # closed to other users: who can read a file can lock it, too
        file = open(prefect_home() / name, "ab", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115  (the caller's)
        os.fchmod(file.fileno(), 0o600)  # an earlier release made it for all to read
        return file
    except OSError as error:
        raise OrchestrationError(
            f"Prefect cannot keep its database in {prefect_home()}: {explain(error)} (PREFECT_HOME names another place)"
        ) from error


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """To a GET."""

    status: int
    line: str
    """The first."""


def http_get(
    parts: SplitResult, path: str, timeout: float, headers: Mapping[str, str] | None = None, busy: float | None = None
) -> HttpResponse:
    """Send a GET request to that address. OSError, ValueError or HTTPException without an answer.

    timeout: seconds to connect, and to wait for the answer unless `busy` gives a longer time for that.
    """
    assert parts.hostname is not None
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.connect()
        connection.sock.settimeout(busy or timeout)
        connection.request("GET", path, headers=dict(headers or {}))
        answer = connection.getresponse()
        return HttpResponse(answer.status, answer.read(1000).decode(errors="replace").partition("\n")[0])
    finally:
        connection.close()


def explain(error: BaseException) -> str:
    """The text of an error, in one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join((text or type(error).__name__).split()).lower()


def _start_lock() -> IO[bytes] | None:
    """Held while a server starts: two that build the same database at once break each other. None when another one takes too long."""
    file = lock_in_home("ferflow-start.lock")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.1)
        else:
            return file
    file.close()
    return None
