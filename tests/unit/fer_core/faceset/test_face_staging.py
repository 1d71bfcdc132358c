"""A face set appears whole or not at all, also when the process that makes it is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_core.errors import FaceSetError
from fer_core.faceset import FaceSetCard, read_card, read_split, write_split
from fer_core.faceset.importers import folder as folder_importer
from fer_core.faceset.importers.raw import import_raw
from fer_core.faceset.staging import PARTIAL, check_target, clear, publish, staged
from fer_core.labels import EXPRESSIONS
from tests.support.made_faces import encoded, faces, made_faceset, rows
from tests.support.processes import PATIENCE, Commands, wait_for_a_worker

CARD = FaceSetCard("made", "votes", EXPRESSIONS, "drawn", {"train": 3}, 0, 1.0)


def built(partial: Path, count: int = 3) -> FaceSetCard:
    write_split(partial, "train", rows(count, "train", "votes"))
    return CARD


def build_and(target: Path, then: Callable[[], None]) -> None:
    with staged(target) as partial:
        card = built(partial)
        then()
        publish(partial, card)


def interrupted() -> None:
    raise KeyboardInterrupt


def test_what_is_published_is_all_that_is_left(tmp_path: Path) -> None:
    target = tmp_path / "a" / "set"
    with staged(target) as partial:
        (partial / "raw").mkdir()
        (partial / "raw" / "something").write_text("in between")
        card = publish(partial, built(partial))
    assert read_card(target) == card
    assert len(read_split(target, "train")) == 3
    assert sorted(file.name for file in target.iterdir()) == ["faces-train.parquet", "faceset.json"]


def test_a_face_set_that_was_there_is_replaced_whole(tmp_path: Path) -> None:
    made_faceset(tmp_path, {"train": 5, "valid": 2})
    (tmp_path / "notes.txt").write_text("mine")
    with staged(tmp_path) as partial:
        publish(partial, built(partial))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["faces-train.parquet", "faceset.json", "notes.txt"]


@pytest.mark.parametrize("before", [None, "empty", "set"])
def test_an_exception_leaves_what_was_there(tmp_path: Path, before: str | None) -> None:
    target = tmp_path / "set"
    if before is not None:
        made_faceset(target, {"train": 5}) if before == "set" else target.mkdir()
    with pytest.raises(KeyboardInterrupt):
        build_and(target, interrupted)
    assert target.exists() == (before is not None)
    if before == "set":
        assert len(read_split(target, "train")) == 5
    elif before == "empty":
        assert list(target.iterdir()) == []


def test_an_exception_between_the_moves_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, to: interrupted() if to.name == "faceset.json" else replace(self, to))
    with pytest.raises(KeyboardInterrupt):
        build_and(tmp_path / "set", lambda: None)
    assert not (tmp_path / "set").exists()


def test_two_processes_do_not_build_in_one_folder(tmp_path: Path) -> None:
    with staged(tmp_path) as partial:
        built(partial)
        with pytest.raises(FaceSetError, match="another process"), staged(tmp_path):
            pass
        assert (partial / "faces-train.parquet").is_file()
        publish(partial, CARD)
    with staged(tmp_path):
        pass
    assert len(read_split(tmp_path, "train")) == 3


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FaceSetError, match="cannot write a face set"), staged(tmp_path / place):
        pass


def test_a_target_is_new_or_empty_or_what_a_killed_import_left(tmp_path: Path) -> None:
    check_target(tmp_path / "new")
    check_target(tmp_path)
    (tmp_path / "faces-train.parquet").write_text("somebody's")
    with pytest.raises(FaceSetError, match="not empty"):
        check_target(tmp_path)
    (tmp_path / PARTIAL).mkdir()
    check_target(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FaceSetError, match="not empty"):
        check_target(tmp_path)
    (tmp_path / "notes.txt").unlink()
    (tmp_path / "faceset.json").write_text("{}")  # killed after the last move: the set is whole
    with pytest.raises(FaceSetError, match="not empty"):
        check_target(tmp_path)
    with pytest.raises(FaceSetError, match="cannot write a face set"):
        check_target(tmp_path / "faceset.json")


def test_clear_leaves_other_files(tmp_path: Path) -> None:
    folder = made_faceset(tmp_path, {"train": 2, "valid": 1})
    (folder / "notes.txt").write_text("mine")
    clear(folder)
    assert [file.name for file in folder.iterdir()] == ["notes.txt"]


# Real processes

STOPPED = """
import sys, time
from pathlib import Path
import fer_core.faceset.importers.raw as raw, fer_core.faceset.prepare as prepare, fer_core.faceset.writer as writer
from flows.cli.main import main

def stop(*_):
    print("there", flush=True)
    time.sleep(120)

def in_reading():
    row, calls = raw._row, []
    def late(*given):
        calls.append(given)
        return stop() if len(calls) == 5 else row(*given)
    raw._row = late

def when_located():
    prepare._fates = stop

def when_aligned():
    prepare.FaceSetWriter = type("Stopping", (writer.FaceSetWriter,), {"finish": stop})

def between_the_moves():
    replace = Path.replace
    Path.replace = lambda self, to: stop() if Path(to).name == "faceset.json" else replace(self, to)

{stage}()
sys.exit(main(sys.argv[1:]))
"""

STAGES = ["in_reading", "when_located", "when_aligned", "between_the_moves"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for index, picture in enumerate(faces(8)):
        place = tmp_path / "source" / ("valid" if index % 4 == 3 else "train") / EXPRESSIONS[index]
        place.mkdir(parents=True)
        (place / f"{index}.png").write_bytes(encoded(picture))
    return tmp_path / "source"


@pytest.fixture
def stopped(request: pytest.FixtureRequest, commands: Commands, source: Path, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """An import that has come to a stage and stays there."""
    words = ["dataset", "import", "folder", source, "--to", tmp_path / "set", "--detector", "builtin", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED.replace("{stage}", request.param), *map(str, words)],
        env=commands.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            yield process
        finally:
            process.kill()


def ids(folder: Path) -> list[str]:
    return sorted(sample for split in ("train", "valid") for sample in read_split(folder, split).ids)


@pytest.mark.parametrize("stopped", STAGES, indirect=True)
def test_a_killed_import_leaves_no_half_and_no_process_and_does_not_block_the_next(
    stopped: "subprocess.Popen[str]", commands: Commands, source: Path, tmp_path: Path
) -> None:
    target = tmp_path / "set"
    check_target(target)
    with pytest.raises(FaceSetError, match="another process"):
        import_raw(folder_importer.samples(source), target, "folder")
    stopped.send_signal(signal.SIGKILL)
    stopped.wait()
    for place in (target, target / PARTIAL, target / PARTIAL / "raw"):
        with pytest.raises(FaceSetError, match="not a face set"):
            read_split(place, "train")
    commands.wait_until_gone()
    assert (target / PARTIAL).exists()
    check_target(target)
    assert import_raw(folder_importer.samples(source), target, "folder").counts == {"train": 6, "valid": 2}
    assert sorted(file.name for file in target.iterdir()) == ["faces-train.parquet", "faces-valid.parquet", "faceset.json"]


@pytest.mark.parametrize("stopped", ["when_located"], indirect=True)
def test_ctrl_c_is_one_line_and_leaves_nothing(stopped: "subprocess.Popen[str]", commands: Commands, source: Path, tmp_path: Path) -> None:
    os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    out, err = stopped.communicate(timeout=280)
    assert stopped.returncode == 1
    assert out == ""
    assert err.splitlines()[-1] == "ferflow: interrupted"
    assert "Traceback" not in err
    assert not (tmp_path / "set").exists()
    commands.wait_until_gone()
    again = commands.run(
        "dataset", "import", "folder", source, "--to", tmp_path / "set", "--detector", "builtin", "--workers", "1", "--json"
    )
    assert again.code == 0, again.err
    assert again.json["counts"] == {"train": 6, "valid": 2}
    assert len(ids(tmp_path / "set")) == 8
    commands.wait_until_gone()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what a process has loaded")
def test_ctrl_c_while_detection_processes_start_is_one_line(commands: Commands, source: Path, tmp_path: Path) -> None:
    """Regression: each of them printed a traceback of its imports."""
    process = commands.start("dataset", "import", "folder", source, "--to", tmp_path / "set", "--detector", "builtin", "--workers", "2")
    wait_for_a_worker(process, "_multiarray_umath")
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "ferflow: interrupted"
    assert "Traceback" not in err
    commands.wait_until_gone()
