"""After whole jobs, a killed one among them, no other user of the machine can read a byte of what they wrote, wherever that is."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fer_core.commit.lease import lease
from fer_core.storage.store import open_store
from tests.support import second_user
from tests.support.processes import Commands, Ended

pytestmark = pytest.mark.timeout(600)

COMMANDS = """
import json, sys
from flows.cli.main import main

sys.exit(max(main(words) for words in json.loads(sys.argv[1])))
"""


@dataclass(frozen=True)
class Left:
    """A folder that every user may enter, with home, temporary folder, working folder and source in it."""

    folder: Path
    commands: Commands
    environment: Mapping[str, str]
    given: frozenset[Path]
    """What was there before: pictures that every user may read."""
    readable: tuple[str, ...]
    modes: dict[Path, int]
    """While the killed run's staging still lay there."""

    def run(self, *arguments: object) -> Ended:
        return self.commands.run(*arguments, env=self.environment, cwd=self.folder / "cwd")


@pytest.fixture(scope="module")
def left(two_pictures, labelled, prefect_url):
    """The home is one in which a command has made Prefect's database. The whole run uses a server that is there, the killed one its own."""
    folder = Path(tempfile.mkdtemp(prefix="ferflow-open-"))  # pytest's own folders are closed to other users
    before = os.umask(0o022)  # the usual one
    try:
        folder.chmod(0o755)
        shutil.copytree(labelled.commands.home, folder / "home")
        made_before = frozenset(folder.rglob("*")) - {folder / "home"}
        for name in ("tmp", "cwd", "photos"):
            (folder / name).mkdir()
        for number in range(4):
            shutil.copyfile(two_pictures / "t1.jpg", folder / "photos" / f"{number}.jpg")
        commands, environment = Commands(folder / "home"), {"TMPDIR": str(folder / "tmp"), "PREFECT_API_URL": prefect_url}
        found = Left(folder, commands, environment, frozenset(folder.rglob("*")) - made_before, (), {})
        whole = found.run("label", folder / "photos", "--to", folder / "labels", "--run-id", "whole", "--keep-crops", "--workers", 1)
        assert whole.code == 0, whole.err
        assert "is open to" not in whole.err
        root = f"{folder}/labels"
        words = [
            ["gallery", root, "--to", f"{folder}/out/gallery.html", "--png", f"{folder}/out/gallery.png"],
            ["review", "export", root, "--to", f"{folder}/review"],
            ["export", "current", root, "--to", f"{folder}/current"],
            ["report", root, "--to", f"{folder}/report.html"],
        ]
        python = [sys.executable, "-P", "-c", COMMANDS, json.dumps(words)]
        subprocess.run(python, env=commands.environment(environment), cwd=folder / "cwd", check=True, timeout=280)
        _killed(found)
        readable = tuple(json.loads(second_user.run("tests.support.foreign_reader", folder)))
        modes = {path: os.lstat(path).st_mode for path in folder.rglob("*") if path not in found.given}
        yield replace(found, readable=readable, modes=modes)
    finally:
        os.umask(before)
        shutil.rmtree(folder)


def _killed(left: Left) -> None:
    """Once the first shard of a run has staged its crops, with the server that it has started."""
    options = ("--run-id", "killed", "--keep-crops", "--force", "--workers", 1, "--shard-size", 1)
    words = ("label", left.folder / "photos", "--to", left.folder / "labels", *options)
    process = left.commands.start(*words, env={"TMPDIR": left.environment["TMPDIR"]}, cwd=left.folder / "cwd")
    while not list(left.folder.glob("labels/_staging/killed/faces/*.parquet")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    left.commands.wait_until_gone(30)


def test_every_file_and_folder_is_its_owners_alone(left):
    """All that is there is looked at, so that a file of a later release is as well."""
    assert [str(path) for path, mode in left.modes.items() if not stat.S_ISLNK(mode) and mode & 0o077] == []
    names = {str(path.relative_to(left.folder)) for path in left.modes}
    for made in (
        "home/.prefect/prefect.db",
        "out/gallery.html",
        "out/gallery.png",
        "review/tasks.json",
        "report.html",
        "labels/_staging/killed",
    ):
        assert made in names
    assert [name for name in names if name.startswith("labels/faces/") and name.endswith(".parquet")]


@second_user.needs_root
def test_another_user_reads_what_was_given_and_nothing_else(left):
    pictures = {str(path) for path in left.given if path.is_file()}
    assert set(left.readable) == pictures


def test_what_the_killed_run_left_is_removed_at_once(left, call):
    root = left.folder / "labels"
    with lease(open_store(str(root)), "run other"):
        refused = left.run("discard", root, "killed")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "another process is writing to" in refused.err
    assert list(root.glob("_staging/killed/faces/*"))
    done = call("discard", root, "killed", "--json")
    assert done.code == 0, done.err
    assert done.json["run_id"] == "killed"
    assert done.json["files"] > 3
    assert not [path for path in root.rglob("*") if "killed" in str(path.relative_to(root))]
    assert call("discard", root, "killed").err == f"ferflow: run killed is unknown in {root}\n"
    committed = call("discard", root, "whole")
    assert (committed.code, committed.err) == (1, "ferflow: run whole is committed: what it labelled is not discarded\n")
    assert call("verify", root).code == 0
    nowhere = call("discard", left.folder / "absent", "killed")
    assert nowhere.code == 1
    assert not (left.folder / "absent").exists()
