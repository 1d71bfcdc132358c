"""The Prefect API a run talks to: the one that is configured, or one of our own for as long as the command runs.

Ours is Prefect's ephemeral server, started by us instead of by Prefect's client: earlier, so that it boots while other things do.
"""

import http.client
import os
import socket
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fer_core.errors import OrchestrationError
from flows.prefect_server import ANSWER_SECONDS, START_SECONDS, PrefectServer, in_words, prefect_home, status_of

QUIET: Final = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
}
"""No word about anybody's runs leaves the machine. Not a default but a promise: set whatever the environment says."""

DEFAULTS: Final = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(int(START_SECONDS)),
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}

_PLACES: Final = ("PREFECT_HOME", "PREFECT_PROFILES_PATH", "FERFLOW_DETECTORS")
"""Paths that processes with other working folders take from the environment."""

_EPHEMERAL: Final = {
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_SERVER_UI_ENABLED": "0",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
}


class PrefectApi:
    """Where the API is. Use it inside `ready`."""

    def __init__(self, url: str, server: PrefectServer | None) -> None:
        self.url = url
        self._server = server

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Inside, it answers. OrchestrationError in one line when it does not. At the end it is told what is still queued."""
        if self._server is None:
            with _told():
                yield
            return
        self._server.wait(float(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]))
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings  # noqa: PLC0415

        # Heartbeats tell a server that outlives the run of its death. Ours does not, and their thread takes a second to end.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), _told():
            yield


@contextmanager
def prefect_api(*, verbose: bool = False) -> Iterator[PrefectApi]:
    """Set this process up for Prefect, which must not be imported before. Inside, an API is there or on its way.

    OrchestrationError at once when a configured server does not answer.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("prefect reads its settings when it is imported")
    configure(verbose)
    url = _configured_url()
    if url is not None:
        _check_answers(url)
        yield PrefectApi(url, None)
        return
    server = _ephemeral(verbose)
    os.environ["PREFECT_API_URL"] = server.url
    os.environ["PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED"] = "false"
    try:
        yield PrefectApi(server.url, server)
    finally:
        server.stop()
        del os.environ["PREFECT_API_URL"]


def flush(seconds: float = 5.0) -> None:
    """Let Prefect deliver what it has queued: states of task runs, logs. Without it they are lost when the API stops."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker  # noqa: PLC0415
    from prefect.logging.handlers import APILogWorker  # noqa: PLC0415

    for worker in (APILogWorker, EventsWorker):
        with suppress(Exception):  # nothing but history is lost
            worker.drain_all(timeout=seconds, at_exit=False)


@contextmanager
def _told() -> Iterator[None]:
    """At its end everything queued is delivered: Prefect itself tries when the process ends, for a minute where the API is gone by then."""
    try:
        yield
    finally:
        flush()


def configure(verbose: bool) -> None:
    """Prefect's settings for this process and those it starts: no telemetry, no chatter, no proxy to this machine."""
    os.environ.update(QUIET)
    os.environ.update({name: str(Path(os.environ[name]).expanduser().absolute()) for name in _PLACES if os.environ.get(name)})
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Prefect prints a traceback for a flow that fails; the command says why in one line. The API's log keeps everything.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if verbose else "CRITICAL")
    for name in ("NO_PROXY", "no_proxy"):  # a proxy of the outside world must not be asked for this machine
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))


def _configured_url() -> str | None:
    """PREFECT_API_URL of the environment or of the active Prefect profile, read without importing Prefect."""
    if os.environ.get("PREFECT_API_URL"):
        return os.environ["PREFECT_API_URL"]
    file = Path(os.environ.get("PREFECT_PROFILES_PATH") or prefect_home() / "profiles.toml")
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
        name = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
        url = profiles.get("profiles", {}).get(name, {}).get("PREFECT_API_URL")
    except (OSError, ValueError, AttributeError):  # none, or none that Prefect could read either
        return None
    return url if isinstance(url, str) and url else None


def _check_answers(url: str) -> None:
    """Any answer will do, a refusal for want of credentials too: Prefect's client brings them."""
    parts = urlsplit(url)
    try:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http address")
        status_of(parts, parts.path.rstrip("/") + "/health", ANSWER_SECONDS)
    except (OSError, ValueError, http.client.HTTPException) as error:
        shown = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if _has_port(parts) else ''}{parts.path}"  # without credentials
        raise OrchestrationError(f"the Prefect server at {shown} (PREFECT_API_URL) does not answer: {in_words(error)}") from error


def _has_port(parts: SplitResult) -> bool:
    try:
        return parts.port is not None
    except ValueError:
        return False


def _ephemeral(verbose: bool) -> PrefectServer:
    """A server on any free port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        # Bound here, so that the port is ours before anybody else's. Not yet listening: connections are refused until it serves.
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        return PrefectServer("prefect.server.api.server:create_app", listening, url, _EPHEMERAL, verbose=verbose)
