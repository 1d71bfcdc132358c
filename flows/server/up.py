"""Prefect's server with its pages, and the deployments, for as long as `ferflow up` runs.

Crash-only: stopping it kills active runs, like a power cut. Their staged shards count, and the next start resumes them.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

from fer_core.errors import OrchestrationError
from fer_core.planning.time_zone import SCHEDULES
from flows.server.child_processes import empty_folder, environment, python
from flows.server.guard import ALLOWED_HOSTS
from flows.server.password import OURS, THEIRS, Password, stored_password
from flows.server.prefect_api import configure
from flows.server.prefect_process import LOCK, PrefectServer, explain, lock_in_home, prefect_home
from flows.server.session import session
from flows.server.watchdog import kill_marked
from tasks.clusters.trust import ALLOWED_CLUSTERS

START_SECONDS: Final = 600.0
"""Long enough for a start together with the machine and its other services."""

LOOK_SECONDS: Final = 0.2
"""Interval of the checks that both processes are alive."""


@dataclass(frozen=True, slots=True)
class Address:
    """Address of the UI."""

    host: str
    port: int
    """0: any free one."""


@dataclass(frozen=True, slots=True)
class Access:
    """Access beyond the defaults."""

    hosts: tuple[str, ...] = ()
    """Further names of the UI beside this machine's own."""
    clusters: tuple[str, ...] = ()
    """Clusters that runs may name although their deployment does not."""
    password: bool = True


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The served UI."""

    url: str
    """Of the UI."""
    deployments: tuple[str, ...]
    password: Password | None


def run_server(
    address: Address, options: dict[str, str | None], access: Access, ready: Callable[[RunningServer], None], *, verbose: bool = False
) -> None:
    """Serve until interrupted. options: the fields of `flows.server.deployments.ServeOptions`. ready: called once.

    OrchestrationError in one line: another one serves this home, the port is taken, a process does not start, or it ended.
    """
    with session() as mark, _alone() as lock, _listening(address) as listening:
        url = _url(address.host, listening)
        lock.truncate(0)
        lock.write(url.encode())
        lock.flush()
        configure(verbose)
        password = stored_password() if access.password else None
        for name in (OURS, THEIRS):
            os.environ.pop(name, None)
        os.environ.update(_settings(url))
        os.environ[SCHEDULES] = options["timezone"] or "UTC"
        os.environ[ALLOWED_CLUSTERS] = ",".join(access.clusters)
        settings = {"PREFECT__SERVER_FINAL": "1", ALLOWED_HOSTS: ",".join((*access.hosts, *_bound(url)))}
        if password is not None:
            os.environ[OURS] = password.text
            settings[THEIRS] = password.text
        if not verbose:  # only `last_log_lines` reads it, for the reason why a database does not work
            settings["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "ERROR"
        server = PrefectServer("flows.server.application:create_app", listening, f"{url}/api", settings, verbose=verbose)
        listening.close()
        try:
            server.wait(START_SECONDS)
            _serve(server, mark, options, lambda deployments: ready(RunningServer(url, deployments, password)))
        finally:
            server.stop()


def _serve(server: PrefectServer, mark: str, options: dict[str, str | None], ready: Callable[[tuple[str, ...]], None]) -> None:
    serving = _Serving(options)
    try:
        ready(serving.wait())
        while not serving.has_ended() and not server.has_ended():
            time.sleep(LOOK_SECONDS)
        raise OrchestrationError(
            f"the Prefect server ended: {server.last_log_lines()}"
            if server.has_ended()
            else "the process that serves the deployments ended"
        )
    finally:
        serving.kill()
        kill_marked(mark, server.pid)  # the runs it has started, and their workers


class _Serving:
    """The process that serves the deployments; its log is this command's standard error."""

    def __init__(self, options: dict[str, str | None]) -> None:
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            python("-m", "flows.server.serve", str(writing)),
            env=environment({"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}),
            cwd=empty_folder(prefect_home()),  # runs begin in it, and Prefect looks for their modules there first
            pass_fds=[writing],
            stdin=subprocess.PIPE,
            stdout=sys.stderr,
            process_group=0,
        )
        os.close(writing)
        self._told = os.fdopen(reading)
        assert self._process.stdin is not None
        with self._process.stdin as stream, suppress(BrokenPipeError):
            stream.write(json.dumps(options).encode())

    def wait(self) -> tuple[str, ...]:
        """Wait until it serves; returns the names of the deployments."""
        with self._told as stream:
            line = stream.readline()
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise OrchestrationError(f"the deployments cannot be served: {answer['error']}")
        return tuple(answer["served"])

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kill it at once: after SIGTERM it would mark runs as crashed that the next start resumes."""
        self._process.kill()
        self._process.wait()


def _settings(url: str) -> dict[str, str]:
    """Settings of the server and of its clients."""
    parts = urlsplit(url)
    return {
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_SERVER_API_HOST": str(parts.hostname),
        "PREFECT_SERVER_API_PORT": str(parts.port),
        "PREFECT_SERVER_UI_ENABLED": "true",
        "PREFECT_SERVER_UI_API_URL": "/api",  # relative to the page's own server
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(prefect_home() / "ferflow-ui"),  # the package's own folder may be read-only
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # no other page in the browser may start runs: Prefect's own protection, in addition to the guard's
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": url,
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
        "PREFECT_RUNNER_POLL_FREQUENCY": os.environ.get("PREFECT_RUNNER_POLL_FREQUENCY", "5"),
        "PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED": "false",
    }


@contextmanager
def _alone() -> Iterator[IO[bytes]]:
    """Lock of a home: two servers would run every scheduled run twice."""
    with lock_in_home(LOCK) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            where = Path(lock.name).read_text(encoding="utf-8").strip()
            raise OrchestrationError(f"ferflow up is running already on {prefect_home()}: {where or 'it is starting'}") from error
        yield lock


@contextmanager
def _listening(address: Address) -> Iterator[socket.socket]:
    """A listening socket for the server. OrchestrationError when it cannot be bound."""
    try:
        family, kind, _, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(family, kind)
    except OSError as error:
        raise OrchestrationError(f"there is no address {address.host} on this machine: {explain(error)}") from error
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier server may linger
        try:
            listening.bind(where)
            listening.listen(128)  # bound alone, a second server could bind it too
        except OSError as error:
            raise OrchestrationError(
                f"cannot serve on {address.host} port {address.port}: {explain(error)} (--port names another one, 0 any that is free)"
            ) from error
        yield listening


def _bound(url: str) -> tuple[str, ...]:
    """The given host name with its port. The guard checks addresses at each connection."""
    parts = urlsplit(url)
    return () if "[" in parts.netloc else (parts.netloc,)


def _url(host: str, listening: socket.socket) -> str:
    """Its URL for this machine."""
    port = listening.getsockname()[1]
    if host in ("", "0.0.0.0"):
        return f"http://127.0.0.1:{port}"
    if host == "::":
        return f"http://[::1]:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
