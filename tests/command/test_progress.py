"""Commands that may take long report progress on standard error where there is no terminal, and nothing of it on standard output."""

import json
import shutil
from itertools import count

import pytest

from flows.cli.stage_progress import StageProgress
from tests.support.made_faces import made_faceset, small_model


@pytest.fixture
def slow(monkeypatch):
    """Each time a command asks for the time, 20 seconds have passed."""
    times = count(0, 20)
    # On the class: a command's module may be imported already, and keeps the class that it found.
    monkeypatch.setattr(StageProgress, "clock", staticmethod(lambda: float(next(times))))


COMMANDS = {
    "verify": (["verify", "ROOT"], "verified files: 1 of"),
    "export": (["export", "current", "ROOT", "--to", "TMP/current"], "sorted files: 1 of"),
    "review": (["review", "export", "ROOT", "--to", "TMP/review", "--budget", "2"], "read photographs: 1 of 2 (50 %)"),
    "report": (["report", "ROOT", "--to", "TMP/report.html"], "comparing runs"),
    "dry run": (["label", "PICTURES", "--to", "TMP/new", "--dry-run"], "listed images: 2"),
    "dataset": (["dataset", "import", "folder", "TMP/source", "--to", "TMP/set", "--raw"], "read faces: 2"),
    "evaluate": (["evaluate", "TMP/set", "--split", "valid", "--model", "TMP/model"], "scored faces: 20 of 20 (100 %)"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_slow_command_shows_its_progress(labelled, call, slow, tmp_path, name):
    words, line = COMMANDS[name]
    if name == "evaluate":
        made_faceset(tmp_path / "set", {"valid": 20})
        small_model(tmp_path / "model")
    if name == "dataset":
        for picture in sorted(labelled.source.glob("*.png")):
            for expression in ("fear", "anger"):
                folder = tmp_path / "source" / "train" / expression
                folder.mkdir(parents=True)
                shutil.copy(picture, folder)
    places = {"ROOT": labelled.root, "PICTURES": labelled.source, "TMP": tmp_path}
    for place, path in places.items():
        words = [word.replace(place, str(path)) for word in words]
    ended = call(*words, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)
    assert line in ended.err
    assert ended.err.count(" elapsed\n") == len(ended.err.splitlines())


def test_a_quick_command_shows_none(labelled, call):
    assert call("verify", labelled.root).err == ""
