"""The Prefect API that a run uses: the configured one, or an ephemeral one for as long as the command runs.

The ephemeral server is Prefect's. ferflow starts it earlier than Prefect's client would, so that it boots while other parts load.
"""

import base64
import http.client
import os
import socket
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from fer_core.errors import OrchestrationError
from flows.server.password import FILE, OURS, THEIRS, new_password, password_of_running_server
from flows.server.prefect_process import ANSWER_SECONDS, LOCK, START_SECONDS, PrefectServer, explain, http_get, prefect_home
from flows.server.server_process import early_server

QUIET: Final = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
}
"""No telemetry about runs leaves the machine. Not a default but a promise: set regardless of the environment."""

DEFAULTS: Final = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(int(START_SECONDS)),
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
}

BUSY_SECONDS: Final = 60.0
"""How long a server that accepts connections may take for an answer."""

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
    """Address of the API. Use it inside `ready`."""

    def __init__(self, url: str, server: PrefectServer | None) -> None:
        self.url = url
        self._server = server

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Inside, the API answers. OrchestrationError in one line when it does not. At the end, queued states and logs are delivered."""
        if self._server is None:
            with _told():
                yield
            return
        self._server.wait(float(os.environ["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]))
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        # Heartbeats are for a server that outlives the run. The ephemeral one does not, and their thread takes a second to end.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), _told():
            yield


@contextmanager
def early_api(*, verbose: bool = False) -> Iterator[None]:
    """Inside, the process of an ephemeral API already loads its libraries, where `prefect_api` will start one."""
    with nullcontext() if _configured("PREFECT_API_URL", _profile()) else early_server(verbose=verbose):
        yield


@contextmanager
def prefect_api(*, verbose: bool = False) -> Iterator[PrefectApi]:
    """Set this process up for Prefect, which must not be imported before. Inside, an API is running or starting.

    OrchestrationError at once when a configured server does not answer.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("prefect reads its settings when it is imported")
    configure(verbose)
    profile = _profile()
    url = _configured("PREFECT_API_URL", profile)
    if url is not None:
        with _environment(_shown_to(url, profile)):
            _check_answers(url, profile)
            yield PrefectApi(url, None)
        return
    password = new_password()  # of this process and its children, in their environment alone: no other user can use the server
    server = _ephemeral(password, verbose)
    os.environ["PREFECT_CLIENT_SERVER_VERSION_CHECK_ENABLED"] = "false"
    with _environment({"PREFECT_API_URL": server.url, OURS: password}):
        try:
            yield PrefectApi(server.url, server)
        finally:
            server.stop()


def flush(seconds: float = 5.0) -> None:
    """Let Prefect deliver what it has queued: states of task runs, logs. Without it they are lost when the API stops."""
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        with suppress(Exception):  # nothing but history is lost
            worker.drain_all(timeout=seconds, at_exit=False)


@contextmanager
def _told() -> Iterator[None]:
    """At its end, deliver all queued items: Prefect itself tries at the end of the process, for a minute if the API is gone by then."""
    try:
        yield
    finally:
        flush()


def configure(verbose: bool) -> None:
    """Prefect's settings for this process and those it starts: no telemetry, no chatter, no proxy to this machine."""
    os.environ.update(QUIET)
    for name in _PLACES:
        if place := os.environ.pop(name, ""):  # Prefect takes an empty one for the working folder
            os.environ[name] = str(Path(place).expanduser().absolute())
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    # Prefect prints a traceback for a flow that fails; the command prints the reason in one line. The API's log keeps everything.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if verbose else "CRITICAL")
    for name in ("NO_PROXY", "no_proxy"):  # requests to this machine must not go through a proxy
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1,localhost")))


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Inside, they are in the environment."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _profile() -> dict[str, object]:
    """Settings of the active Prefect profile, read without importing Prefect."""
    file = Path(os.environ.get("PREFECT_PROFILES_PATH") or prefect_home() / "profiles.toml")
    try:
        profiles = tomllib.loads(file.read_text(encoding="utf-8"))
        name = os.environ.get("PREFECT_PROFILE") or profiles.get("active")
        return dict(profiles.get("profiles", {}).get(name, {}))
    except (OSError, ValueError, AttributeError, TypeError):  # none, or none that Prefect could read either
        return {}


def _configured(name: str, profile: Mapping[str, object]) -> str | None:
    """A setting of the environment or of the profile."""
    value = os.environ.get(name) or profile.get(name)
    return value if isinstance(value, str) and value else None


def _shown_to(url: str, profile: Mapping[str, object]) -> dict[str, str]:
    """The password of `ferflow up`, where it serves the address and no other password is configured."""
    found = None if _configured(OURS, profile) else password_of_running_server(url, LOCK)
    return {OURS: found} if found else {}


def _check_answers(url: str, profile: Mapping[str, object]) -> None:
    """OrchestrationError in one line: no server or no API answers there, its certificate has another name, or it requires another
    password."""
    shown = _without_credentials(url)
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise OrchestrationError(f"PREFECT_API_URL is no http:// or https:// address: {shown}")
        path = parts.path.rstrip("/")
        health = http_get(parts, f"{path}/health", ANSWER_SECONDS, busy=BUSY_SECONDS)
        asked = health
        if not _proven_otherwise(parts, profile):
            asked = http_get(parts, f"{path}/admin/version", ANSWER_SECONDS, _basic(profile), BUSY_SECONDS)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise OrchestrationError(f"the Prefect server at {shown} (PREFECT_API_URL) does not answer: {explain(error)}") from error
    if health.status == 403 and health.line.startswith("ferflow: "):
        raise OrchestrationError(f"the server at {shown} (PREFECT_API_URL) refuses: {health.line.removeprefix('ferflow: ')}")
    if health.line.strip() != "true" and http_get(parts, f"{path}/api/health", ANSWER_SECONDS, busy=BUSY_SECONDS).line.strip() == "true":
        raise OrchestrationError(f"{shown} (PREFECT_API_URL) is a Prefect server, its API is {shown.rstrip('/')}/api")
    if health.status in (200, 404) and health.line.strip() != "true" and not _proven_otherwise(parts, profile):
        raise OrchestrationError(
            f"no Prefect API answers at {shown} (PREFECT_API_URL): its address ends in /api, as http://localhost:4200/api"
        )
    if asked.status == 401:
        given = "does not accept the password in" if _configured(OURS, profile) else "requires a password: put it into"
        kept = f"`ferflow up` keeps its own in {prefect_home() / FILE}"
        raise OrchestrationError(f"the Prefect server at {shown} (PREFECT_API_URL) {given} {OURS}; {kept}")


def _proven_otherwise(parts: SplitResult, profile: Mapping[str, object]) -> bool:
    """Whether Prefect's client brings something else than a password: then it may say itself what is wrong with it."""
    return bool(parts.username) or any(_configured(name, profile) for name in ("PREFECT_API_KEY", "PREFECT_CLIENT_CUSTOM_HEADERS"))


def _basic(profile: Mapping[str, object]) -> dict[str, str]:
    """As Prefect's client sends it."""
    password = _configured(OURS, profile)
    return {"Authorization": f"Basic {base64.b64encode(password.encode()).decode()}"} if password else {}


def _without_credentials(url: str) -> str:
    """What stands before the last `@` may be a password, with slashes."""
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _ephemeral(password: str, verbose: bool) -> PrefectServer:
    """A server on any free port of this machine, for those who know the password."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        # Bound here, so that no other process can take the port. Not yet listening: connections are refused until it serves.
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        return PrefectServer("flows.server.guard:create_app", listening, url, {**_EPHEMERAL, THEIRS: password}, verbose=verbose)
