"""What a campaign stands on: a home, a Prefect server and a Dask cluster that outlive the commands that are killed, and an S3 server."""

import logging
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

REPOSITORY = Path(__file__).resolve().parents[2]

CLUSTER = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    quiet = {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}, "preload": "tests.faults.quick"}
    cluster = LocalCluster(n_workers=1, threads_per_worker=1, host="127.0.0.1", protocol="tcp://", **quiet)
    print(cluster.scheduler_address, flush=True)
    sys.stdin.read()
"""


@dataclass
class Command:
    """A command that runs, armed or not. Every process of it carries `tag` in its environment."""

    process: subprocess.Popen[bytes]
    tag: str
    words: Path
    """What it says on either output; a pipe would stay open for as long as any process that it has started."""
    started: float

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """Exit code, negative where a signal ended it; None while it runs."""
        return self.process.poll()

    def wait(self, seconds: float = 480.0) -> int:
        """The same, once it has ended."""
        return self.process.wait(seconds)

    def said(self) -> str:
        """Its last line."""
        lines = self.words.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else ""

    def left(self) -> list[int]:
        """Processes of it that still run."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get("FERFLOW_TEST") == self.tag and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
        return found

    def ends(self, looks: int = 100) -> bool:
        """Whether all of its processes end within 10 s (contract), counted as looks a tenth of a second apart: where the machine is busy,
        looks take as much longer as ends do."""
        for _ in range(looks):
            if not self.left():
                return True
            time.sleep(0.1)
        return not self.left()

    def gone(self, since: float | None = None, patience: float = 30.0) -> float:
        """Seconds from `since`, or now, until none of its processes ran any more; `patience` where some still do."""
        since = time.monotonic() if since is None else since
        while self.left():
            if time.monotonic() - since > patience:
                return patience
            time.sleep(0.1)
        return time.monotonic() - since


class Surroundings:
    """A context manager. Commands are started in its home, with the addresses of its servers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self._stack = ExitStack()
        self._s3: dict[str, str] = {}
        self.prefect = ""
        self.scheduler = ""

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Of a command; extra goes before."""
        mine = ("PREFECT", "FERFLOW", "DASK", "XDG", "AWS_", "DEADLY")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(mine)}
        patient = {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "400"}  # the machine may have much else to do
        return {**kept, **patient, **self._s3, "HOME": str(self.home), "PYTHONPATH": str(REPOSITORY), **(extra or {})}

    def start(self, words: list[str], extra: Mapping[str, str] | None = None) -> Command:
        """`ferflow` with these words, ready to be killed as `extra` may say."""
        tag = uuid.uuid4().hex
        said = self.folder / f"said-{tag[:8]}.txt"
        started = time.monotonic()
        with said.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.deadly", *words],
                env=self.environment({"FERFLOW_TEST": tag, **(extra or {})}),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
        return Command(process, tag, said, started)

    def with_s3(self) -> "Surroundings":
        """From now on commands, and this process, reach an S3 server."""
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        self._stack.callback(server.stop)
        self._s3 = {
            "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
            "AWS_ACCESS_KEY_ID": "a-user",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        os.environ.update(self._s3)
        return self

    def with_prefect(self) -> "Surroundings":
        """From now on there is an orchestrator that outlives runs."""
        import socket

        with socket.socket() as any_port:
            any_port.bind(("127.0.0.1", 0))
            port = any_port.getsockname()[1]
        words = ["-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--port", str(port), "--log-level", "error"]
        quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_UI_ENABLED": "0"}
        server = self._start(words, quiet)
        self.prefect = f"http://127.0.0.1:{port}/api"
        deadline = time.monotonic() + 600
        while True:
            assert server.poll() is None, server.returncode
            assert time.monotonic() < deadline
            with suppress(OSError), urllib.request.urlopen(f"{self.prefect}/health", timeout=5) as answer:
                if answer.status == 200:
                    return self
            time.sleep(0.2)

    def with_workers(self) -> "Surroundings":
        """From now on there is a Dask cluster that outlives runs."""
        cluster = self._start(["-c", CLUSTER], {})
        assert cluster.stdout is not None
        self.scheduler = cluster.stdout.readline().decode().strip()
        assert self.scheduler, cluster.wait()
        return self

    def share(self) -> None:
        """Let processes that are forked from this one's server live in the same surroundings."""
        wanted = {"HOME", "PYTHONPATH", *self._s3}
        os.environ.update({name: value for name, value in self.environment().items() if name in wanted})
        os.environ.update({"PREFECT_API_URL": self.prefect} if self.prefect else {})
        os.environ.update({"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"})

    def _start(self, words: list[str], extra: dict[str, str]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        environment = self.environment(extra)
        log = self._stack.enter_context((self.folder / "servers.log").open("ab"))
        server = subprocess.Popen(
            [sys.executable, *words], env=environment, cwd=self.home, stdin=pipe, stdout=pipe, stderr=log, start_new_session=True
        )
        self._stack.callback(_end, server)
        return server

    def __enter__(self) -> "Surroundings":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _end(server: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(server.pid).children(recursive=True) if server.poll() is None else []
    server.terminate()
    try:
        server.wait(timeout=10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    for stream in (server.stdin, server.stdout):
        if stream is not None:
            stream.close()
