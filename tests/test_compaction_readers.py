"""No reader notices a compaction."""

import sys
from pathlib import Path

import pytest

from fer_core import compaction
from fer_core.compaction import compact
from fer_core.verify import verify
from tests import fakes
from tests.many_parts import FACES, ended, globbed, reading, three_nights

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="folders are exchanged on Linux only")


@pytest.fixture
def run(tmp_path):
    return fakes.config(tmp_path / "labels", source=str(fakes.write_pictures(tmp_path / "photos", FACES)))


@pytest.fixture
def nights(run):
    return three_nights(Path(run.source), run)


@pytest.mark.parametrize("how", ["count", "union", "join"])
@pytest.mark.parametrize("pause", [0.0, 0.3])
def test_a_reader_notices_nothing(nights, run, how, pause, monkeypatch):
    """DuckDB, in a process of its own, asks again and again while the parts change places; or stay, where it leaves no pause for that."""
    monkeypatch.setattr(compaction, "PATIENCE_SECONDS", 240.0 if pause else 2.0)  # a busy machine leaves few moments
    rows = globbed(run.root)[0]
    reader = reading(run.root, how, pause)
    done = compact(nights, wait=1.0 if pause else 3.0)  # longer than a reader that is not let run stays silent
    said = ended(reader)
    assert said["errors"] == []
    assert [tuple(seen) for seen in said["seen"]] == [rows]
    assert said["questions"] >= 10
    report = verify(nights)
    assert report.ok, report.problems
    assert done.busy == (() if pause else ("run-a", "run-b"))
    if not pause:
        done = compact(nights, wait=0.3)
    assert done.busy == ()
    assert len(list(Path(run.root, "labels").rglob("*.parquet"))) == 3


def test_several_readers_notice_nothing(nights, run, monkeypatch):
    """They leave no moment that could be told; then the old parts stay. When they have gone, it is done."""
    monkeypatch.setattr(compaction, "PATIENCE_SECONDS", 1.0)
    rows = globbed(run.root)[0]
    readers = [reading(run.root, how, pause) for how, pause in (("count", 0.0), ("join", 0.1))]
    assert compact(nights, wait=2.5).busy == ("run-a", "run-b")
    monkeypatch.undo()
    for said in [ended(reader) for reader in readers]:
        assert said["errors"] == []
        assert [tuple(seen) for seen in said["seen"]] == [rows]
    assert compact(nights, wait=0.5).busy == ()
    assert len(list(Path(run.root, "labels").rglob("*.parquet"))) == 3
    assert verify(nights).ok
