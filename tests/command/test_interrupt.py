"""Commands that are stopped in the middle, and what they leave."""

import json
import os
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_core.commit.verify import verify
from fer_core.storage.store import open_store
from tests.support.orchestrator import BUILD
from tests.support.processes import PATIENCE, wait_for_a_worker

IMAGES, SHARD = 16, 2
LIBRARIES = ("_pydantic_core", "orjson", "rpds")
"""In the order in which the command loads them: while Prefect is imported, where interrupts were swallowed."""


@pytest.fixture(scope="module")
def many_pictures(two_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough to be at work for some seconds."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(IMAGES):
        shutil.copy2(two_pictures / "t1.jpg", folder / f"{number:03}.jpg")
    return folder


def wait_for_a_receipt(root: Path, run_id: str, process, more_than: int = 0) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(list((root / "_staging" / run_id / "receipts").glob("*.json"))) <= more_than:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_until_loaded(library: str, process) -> None:
    """Until a process has mapped a library of native code, which tells how far its imports are."""
    deadline = time.monotonic() + PATIENCE
    while library not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def visible(root: Path) -> list[Path]:
    return [path for table in ("labels", "images", "faces") for path in (root / table).rglob("*") if path.is_file()]


@pytest.mark.timeout(1200)
def test_interrupted_then_killed_then_resumed(labelled, on_server, many_pictures, tmp_path):
    """One run, stopped with Ctrl-C, resumed, killed, resumed: every image once, nothing half-visible, no process left.

    The first has a server of its own that must end with it, as `tests/faults/test_kills.py` has ones of commands that are killed.
    """
    commands, root = labelled.commands, tmp_path / "labels root"
    words = ["label", many_pictures, "--to", root, "--run-id", "night", "--shard-size", SHARD, "--workers", 1]

    first = commands.start(*words)
    wait_for_a_receipt(root, "night", first)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does: workers hear it too
    _, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 1
    line = err.strip().splitlines()[-1]
    assert line.startswith("ferflow: interrupted; resume with: ferflow label ")
    assert "Traceback" not in err
    assert not visible(root)
    commands.wait_until_gone()

    resume = shlex.split(line.partition("resume with: ")[2])[1:]
    assert resume[-6:] == ["--resume", "night", "--workers", "1", "--shard-size", "2"]
    commands = on_server
    kept = len(list((root / "_staging/night/receipts").glob("*.json")))
    assert kept < IMAGES / SHARD, "it ends long before the work would"
    second = commands.start(*resume)
    wait_for_a_receipt(root, "night", second, more_than=kept)
    second.kill()
    second.communicate(timeout=PATIENCE)
    commands.wait_until_gone()
    assert not visible(root)

    third = commands.run(*resume, "--json")
    assert third.code == 0, third.err
    assert third.json["resumed"] >= 2 * kept
    assert sum(third.json["images"].values()) == third.json["listed"] == IMAGES
    checked = verify(open_store(str(root)))
    assert checked.problems == ()
    assert checked.rows == IMAGES + third.json["faces"]
    assert not [path for path in (root / "_staging").rglob("*") if path.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process has loaded")
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_signal_before_anything_began(labelled, on_server, many_pictures, tmp_path, library):
    """The last one has a server of its own on its way as well."""
    commands = labelled.commands if library == LIBRARIES[-1] else on_server
    process = commands.start("label", many_pictures, "--to", tmp_path / "labels", "--run-id", "early")
    wait_until_loaded(library, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    # how far it was is the machine's affair: one line, and nothing half-visible
    assert err.strip().splitlines()[-1].startswith("ferflow: interrupted")
    assert not visible(tmp_path / "labels")
    commands.wait_until_gone()


def test_ctrl_c_while_workers_start_is_one_line(on_server, many_pictures, tmp_path):
    """Regression: a worker printed a traceback before it, and the command finished its imports first."""
    process = on_server.start("label", many_pictures, "--to", tmp_path / "labels", "--run-id", "early", "--workers", 2, "--json")
    wait_for_a_worker(process)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    line = "interrupted; the run was not started: run the same command again"
    assert (process.returncode, json.loads(out)) == (1, {"error": line})
    assert err.splitlines()[-1] == f"ferflow: {line}"
    assert not [said for said in err.splitlines()[:-1] if not said.startswith(("detector: ", "note: ", "starting"))], err
    on_server.wait_until_gone()


def test_two_commands_at_once_share_an_empty_home(commands):
    """Both want to build the same database, as each command does before it runs anything: `labelled` is a whole one in an empty home."""
    start = {"env": commands.environment(), "cwd": commands.home, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    both = [subprocess.Popen([sys.executable, "-c", BUILD], **start) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    with sqlite3.connect(commands.home / ".prefect" / "prefect.db") as database:
        assert database.execute("SELECT count(*) FROM flow").fetchone() == (0,)
    commands.wait_until_gone()
