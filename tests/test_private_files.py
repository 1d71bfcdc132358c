"""After whole jobs, a killed one among them, no other user of the machine can read a byte of what they wrote, wherever that is."""

import json
import os
import shutil
import signal
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from fer_core.lease import lease
from fer_core.store import open_store
from tests import second_user
from tests.processes import Commands, Ended

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True)
class Left:
    """A folder that every user may enter, with home, temporary folder, working folder and source in it."""

    folder: Path
    commands: Commands
    given: frozenset[Path]
    """What was there before: pictures that every user may read."""
    readable: tuple[str, ...]
    modes: dict[Path, int]
    """While the killed run's staging still lay there."""

    def run(self, *arguments: object) -> Ended:
        return self.commands.run(*arguments, env={"TMPDIR": str(self.folder / "tmp")}, cwd=self.folder / "cwd")


@pytest.fixture(scope="module")
def left(two_pictures):
    folder = Path(tempfile.mkdtemp(prefix="ferflow-open-"))  # pytest's own folders let nobody in
    before = os.umask(0o022)  # the usual one
    try:
        folder.chmod(0o755)
        for name in ("home", "tmp", "cwd", "photos"):
            (folder / name).mkdir()
        for number in range(4):
            shutil.copyfile(two_pictures / "t1.jpg", folder / "photos" / f"{number}.jpg")
        commands = Commands(folder / "home")
        found = Left(folder, commands, frozenset(folder.rglob("*")), (), {})
        labelled = found.run("label", folder / "photos", "--to", folder / "labels", "--run-id", "whole", "--keep-crops", "--workers", 1)
        assert labelled.code == 0, labelled.err
        assert "is open to" not in labelled.err
        for arguments in (
            ("gallery", folder / "labels", "--to", folder / "out" / "gallery.html", "--png", folder / "out" / "gallery.png"),
            ("review", "export", folder / "labels", "--to", folder / "review"),
            ("export", "current", folder / "labels", "--to", folder / "current"),
            ("report", folder / "labels", "--to", folder / "report.html"),
        ):
            ended = found.run(*arguments)
            assert ended.code == 0, ended.err
        _killed(found)
        readable = tuple(json.loads(second_user.run("tests.foreign_reader", folder)))
        modes = {path: os.lstat(path).st_mode for path in folder.rglob("*") if path not in found.given}
        yield Left(folder, commands, found.given, readable, modes)
    finally:
        os.umask(before)
        shutil.rmtree(folder)


def _killed(left: Left) -> None:
    """Once the first shard of a run has staged its crops."""
    options = ("--run-id", "killed", "--keep-crops", "--force", "--workers", 1, "--shard-size", 1)
    words = ("label", left.folder / "photos", "--to", left.folder / "labels", *options)
    process = left.commands.start(*words, env={"TMPDIR": str(left.folder / "tmp")}, cwd=left.folder / "cwd")
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


def test_what_the_killed_run_left_is_removed_at_once(left):
    root = left.folder / "labels"
    with lease(open_store(str(root)), "run other"):
        refused = left.run("discard", root, "killed")
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "another process is writing to" in refused.err
    assert list(root.glob("_staging/killed/faces/*"))
    done = left.run("discard", root, "killed", "--json")
    assert done.code == 0, done.err
    assert done.json["run_id"] == "killed"
    assert done.json["files"] > 3
    assert not [path for path in root.rglob("*") if "killed" in str(path.relative_to(root))]
    assert left.run("discard", root, "killed").err == f"ferflow: run killed is unknown in {root}\n"
    committed = left.run("discard", root, "whole")
    assert (committed.code, committed.err) == (1, "ferflow: run whole is committed: what it labelled is not discarded\n")
    assert left.run("verify", root).code == 0
    nowhere = left.run("discard", left.folder / "absent", "killed")
    assert nowhere.code == 1
    assert not (left.folder / "absent").exists()
