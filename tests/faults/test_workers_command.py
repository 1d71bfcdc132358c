"""Faults of workers and schedulers under the real command: what is left is a whole table, or one line and a run to be resumed."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from fer_core.commit.verify import verify
from fer_core.storage.store import open_store
from tests.faults.endings import DEADLY, GATED, HANGING
from tests.support import fakes

SECONDS = 240
"""How long anything may take; a machine that is busy with others needs tens of seconds to start a worker."""


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Until it is so, while the command runs."""
    deadline = time.monotonic() + SECONDS
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)


def receipts(root: Path) -> int:
    return len(list((root / "_staging" / "night" / "receipts").glob("*.json")))


def harmful(folder: Path, name: str, harm: bytes) -> None:
    with (folder / name).open("ab") as file:
        file.write(harm)


def images(root: Path) -> dict[str, dict]:
    rows = pq.read_table(root / "images").to_pylist()
    found = {Path(row["image_uri"]).name: row for row in rows}
    assert len(found) == len(rows)
    return found


def kill_a_worker(command: subprocess.Popen[str]) -> None:
    """One of the command's local workers, with SIGKILL."""
    for child in psutil.Process(command.pid).children(recursive=True):
        with suppress(psutil.Error):  # gone meanwhile
            if "spawn_main" in " ".join(child.cmdline()):
                child.kill()
                return
    raise AssertionError("there was no worker")


@pytest.mark.timeout(2 * SECONDS)
def test_a_poison_one_that_hangs_and_a_killed_worker_in_one_run(on_server, tmp_path):
    """The two are in one shard, so that few workers fail: `test_workers_fanout` tests how they are found."""
    faces = [number % 3 for number in range(8)]
    folder, root = fakes.write_pictures(tmp_path / "photos", faces), tmp_path / "labels"
    harmful(folder, "image-004.png", HANGING)
    harmful(folder, "image-005.png", DEADLY)
    words = ["label", folder, "--to", root, "--run-id", "night", "--detector", "builtin", "--workers", 2, "--shard-size", 2]
    line = [sys.executable, "-m", "tests.faults.harmed", *map(str, words), "--image-timeout", "6", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = subprocess.Popen(line, env=on_server.environment(), cwd=on_server.home, start_new_session=True, **pipes)
    wait_for(lambda: receipts(root) > 0, command)
    kill_a_worker(command)
    out, err = command.communicate(timeout=SECONDS)
    assert command.returncode == 0, err
    on_server.wait_until_gone()
    found = images(root)
    assert len(found) == 8
    bad = {name: row["reason"] for name, row in found.items() if row["status"] == "crashed"}
    assert sorted(bad) == ["image-004.png", "image-005.png"]
    assert bad["image-004.png"] == "processing this image took longer than 6 s, each time"
    assert bad["image-005.png"].startswith("the worker died each time it processed this image")
    for number, count in enumerate(faces):
        row = found[f"image-{number:03d}.png"]
        if row["status"] != "crashed":
            assert (row["status"], row["n_faces"]) == ("labeled" if count else "no_face", count)
    assert verify(open_store(str(root))).problems == ()
    manifest = pq.read_table(root / "labels").num_rows
    assert manifest == sum(row["n_faces"] for row in found.values())
    assert f'"crashed": {len(bad)}' in out


class Remote:
    """A Dask scheduler and its workers as processes of their own, which go and come back under the same address."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._environment, self._folder = environment, folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """`scheduler` or `worker`."""
        given = {
            "scheduler": ["--host", "127.0.0.1", "--port", self.port, "--no-dashboard", "--no-jupyter"],
            "worker": [
                self.address,
                "--host",
                "127.0.0.1",
                "--nthreads",
                1,
                "--no-dashboard",
                "--no-nanny",
                "--preload",
                "tests.faults.harm",
            ],
        }[name]
        line = [sys.executable, "-m", f"distributed.cli.dask_{name}", *map(str, given)]
        with (self._folder / f"{name}.log").open("ab") as log:
            to = {"stdout": log, "stderr": log}
            self.running[name] = subprocess.Popen(line, env=self._environment, cwd=self._folder, start_new_session=True, **to)
        if name == "scheduler":
            wait_for(self._answers, self.running[name])  # a command looks for it before anything else

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self, name: str) -> None:
        """With whatever it started, as a machine is lost."""
        process = self.running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def remote(on_server, tmp_path):
    """Not started yet."""
    forgiving = {"GATE": str(tmp_path / "gate.open"), "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    cluster = Remote(on_server.environment(forgiving), tmp_path)
    yield cluster
    for name in list(cluster.running):
        cluster.kill(name)


@pytest.mark.timeout(3 * SECONDS)
def test_all_workers_go_and_come_back_then_the_scheduler_goes(on_server, remote, tmp_path):
    """One run, which is resumed under a new scheduler."""
    folder, root = fakes.write_pictures(tmp_path / "photos", [1, 0, 2, 1, 1]), tmp_path / "labels"
    harmful(folder, "image-002.png", GATED)
    seen = tmp_path / "gate.seen"

    def waiters() -> int:
        return len(seen.read_text().splitlines()) if seen.exists() else 0

    remote.start("scheduler")
    remote.start("worker")
    words = ["label", folder, "--to", root, "--run-id", "night", "--shard-size", 1, "--detector", "builtin", "--cluster", remote.address]
    command = on_server.start(*words)
    wait_for(lambda: waiters() == 1, command)
    remote.kill("worker")
    remote.start("worker")
    wait_for(lambda: waiters() == 2, command)
    remote.kill("scheduler")
    _, err = command.communicate(timeout=SECONDS)
    assert command.returncode == 1
    said = err.strip().splitlines()[-1]
    assert said.startswith(f"ferflow: the Dask scheduler at {remote.address} went away; resume with: ferflow label ")
    assert "Traceback" not in err
    assert not (root / "images").exists()

    remote.kill("worker")
    finished = receipts(root)
    (tmp_path / "gate.open").touch()
    remote.start("scheduler")
    remote.start("worker")
    resume = shlex.split(said.partition("resume with: ")[2])[1:]
    ended = on_server.run(*resume, "--json", timeout=SECONDS)
    assert ended.code == 0, ended.err
    assert ended.json["resumed"] == finished >= 2
    assert {name: row["n_faces"] for name, row in images(root).items()} == {f"image-{n:03d}.png": c for n, c in enumerate([1, 0, 2, 1, 1])}
    assert verify(open_store(str(root))).problems == ()
