"""Prefect for the tests: a database that is built once for all test processes, and a server that a test process starts once.

Building the database takes a third of what the smallest `ferflow label` takes, starting the server another. What is no matter of a test
need not be done in each. Fixtures for conftest.py.
"""

import fcntl
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

START_SECONDS = 400

BUILD = """
from flows.server.prefect_api import prefect_api

with prefect_api() as api, api.ready():
    pass
"""

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_ENABLED": "0",
    "PREFECT_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(START_SECONDS),
}


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first test process to need it makes, for all of this run of the tests."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder = base / name
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of one that failed
            folder.mkdir()
            make(folder)
            (folder / "made").touch()
    return folder


@pytest.fixture(scope="session")
def prefect_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as Prefect leaves it after its first start, to be put into homes with `with_database`."""
    from tests.support.processes import Commands

    def make(folder: Path) -> None:
        (folder / "home").mkdir()
        words = [sys.executable, "-c", BUILD]
        subprocess.run(words, env=Commands(folder / "home").environment(QUIET), cwd=folder, check=True, timeout=START_SECONDS)
        with (
            closing(sqlite3.connect(folder / "home/.prefect/prefect.db")) as source,
            closing(sqlite3.connect(folder / "prefect.db")) as copy,
        ):
            source.backup(copy)

    return made_once(tmp_path_factory, "prefect database", make) / "prefect.db"


def with_database(home: Path, database: Path) -> Path:
    """The home, in which Prefect was started once."""
    folder = home / ".prefect"
    folder.mkdir(parents=True)
    (folder / "prefect.db").write_bytes(database.read_bytes())
    return home


@pytest.fixture(scope="session")
def prefect_server_home(prefect_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server of `prefect_url` keeps its database."""
    return with_database(tmp_path_factory.mktemp("prefect server") / "home", prefect_database)


@pytest.fixture(scope="session")
def prefect_url(prefect_server_home: Path) -> Iterator[str]:
    """Of an API that outlives the commands: those that are given it as PREFECT_API_URL start none."""
    from tests.support.processes import Commands

    home, folder = prefect_server_home, prefect_server_home.parent
    with socket.socket() as listening, (folder / "said").open("wb") as said:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        words = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--log-level", "error"]
        server = subprocess.Popen(
            [*words, "--fd", str(listening.fileno()), "--timeout-graceful-shutdown", "2"],
            env=Commands(home).environment({**QUIET, "PREFECT__SERVER_EPHEMERAL": "1"}),
            cwd=folder,
            pass_fds=[listening.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    try:
        _wait(url, server, folder / "said")
        yield url
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert server.poll() is None, said.read_text(errors="replace")
        assert time.monotonic() < deadline, said.read_text(errors="replace")
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
