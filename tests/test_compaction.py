"""Few parts from many, while others read: rows, runs and manifests stay, and no reader notices."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core import compaction
from fer_core.collection import list_images
from fer_core.commit import read_manifest
from fer_core.compaction import compact
from fer_core.errors import CommitError, StoreError
from fer_core.lease import lease
from fer_core.ledger import known_images
from fer_core.manifest import Manifest
from fer_core.store import open_store
from fer_core.table import merged
from fer_core.verify import verify
from tasks.draft import draft, jobs
from tests import fakes
from tests.many_parts import FACES, globbed, three_nights

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="folders are exchanged on Linux only")

REPOSITORY = Path(__file__).resolve().parents[1]
WAIT = 0.3

KILLED = """
import os, signal, sys
from fer_core import compaction
from fer_core.store import Store, open_store

left = int(sys.argv[2])
store = open_store(sys.argv[1])

class Deadly:
    def __getattr__(self, name):
        return getattr(store, name)

def deadly(name):
    def step(self, *arguments):
        count()
        return getattr(store, name)(*arguments)
    return step

def count():
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1

def exchanging(self, *arguments):
    step = store.exchanging(*arguments)
    return lambda: (count(), step())

for name in ("write_bytes", "remove_tree"):
    setattr(Deadly, name, deadly(name))
Deadly.exchanging = exchanging
compaction.compact(Deadly(), before="2026-01-02", wait=0.05)
"""


@pytest.fixture
def photos(tmp_path):
    return fakes.write_pictures(tmp_path / "photos", FACES)


@pytest.fixture
def run(tmp_path, photos):
    return fakes.config(tmp_path / "labels", source=str(photos))


@pytest.fixture
def nights(run, photos):
    return three_nights(photos, run)


def content(store, run_id, table):
    """Rows as they are promised."""
    parts = [part.path for part in read_manifest(store, run_id).parts_of(table)]
    return merged([pq.read_table(pa.BufferReader(store.read_bytes(path))).replace_schema_metadata(None) for path in parts])


def contents(store):
    runs = {"run-a": ("labels", "images", "faces"), "run-b": ("labels", "images"), "run-c": ("labels", "images")}
    return {(run_id, table): content(store, run_id, table) for run_id, tables in runs.items() for table in tables}


def test_many_parts_become_one_and_nothing_else_changes(nights, run):
    before, old = contents(nights), {run_id: read_manifest(nights, run_id) for run_id in ("run-a", "run-b", "run-c")}
    done = compact(nights, wait=WAIT)
    assert (done.runs, done.parts_before, done.parts_after, done.busy) == (2, 12 + 16, 3 + 2, ())
    after = contents(nights)
    assert all(after[key].equals(before[key]) for key in before)
    for run_id, manifest in old.items():
        new = read_manifest(nights, run_id)
        assert replace(new, parts=manifest.parts, replaced=()) == manifest
        assert set(new.replaced) == (set(manifest.parts) if run_id != "run-c" else set())
        assert len({part.path.rpartition("/")[2] for part in new.parts}) == 1, "what belongs together has one name"
        assert not {part.path for part in new.parts} & {part.path for part in new.replaced}, "no name is used again"
    report = verify(nights)
    assert (report.ok, report.parts, report.notes) == (True, 7, ())
    assert nights.list_files("_staging") == []
    assert compact(nights, wait=WAIT).runs == 0


def test_parts_keep_their_schema_order_and_provenance(nights, run):
    compact(nights, wait=WAIT)
    (path,) = [part.path for part in read_manifest(nights, "run-b").parts_of("labels")]
    file = pq.ParquetFile(pa.BufferReader(nights.read_bytes(path)))
    assert file.schema_arrow.metadata[b"fer.run_id"] == b"run-b"
    assert [column.column_index for column in file.metadata.row_group(0).sorting_columns] == [1, 3]
    rows = file.read().to_pylist()
    assert [(row["image_uri"], row["face_index"]) for row in rows] == sorted((row["image_uri"], row["face_index"]) for row in rows)


def test_only_runs_before_a_day(nights):
    assert compact(nights, before="2026-01-02", wait=WAIT).runs == 1
    assert len(read_manifest(nights, "run-b").parts) == 16
    assert compact(nights, before="2026-01-01", wait=WAIT).runs == 0


def test_large_parts_are_not_merged_into_larger_ones(nights, monkeypatch):
    largest = max(part.bytes for part in read_manifest(nights, "run-b").parts)
    monkeypatch.setattr(compaction, "LARGEST_PART", int(2.5 * largest))
    compact(nights, wait=WAIT)
    names = [part.path.rpartition("/")[2] for part in read_manifest(nights, "run-b").parts_of("images")]
    assert len(names) == 4
    assert [name.split("-")[2] for name in names] == [f"0000{number}.parquet" for number in range(4)]
    assert verify(nights).ok


def test_the_next_night_skips_and_takes_over_as_before(nights, run, photos):
    compact(nights, wait=WAIT)
    tonight = replace(run, run_id="run-d", started_us=run.started_us + 9)
    assert draft(nights, tonight, list_images(run.source), workers=1, force=False).unchanged == 8
    for file in photos.iterdir():
        os.utime(file, (5, 5))
    drawn = draft(nights, replace(tonight, shard_size=3), list_images(run.source), workers=1, force=False)
    receipts = [fakes.label_shard(job, fakes.tools()) for job in jobs(drawn.config, drawn.images, [0, 1, 2])]
    assert sum(receipt.reused for receipt in receipts) == 8


def test_damaged_parts_are_left_alone(nights):
    part = read_manifest(nights, "run-b").parts[0]
    nights.write_bytes(part.path, nights.read_bytes(part.path)[:-1])
    before = nights.list_files("labels") + nights.list_files("images")
    with pytest.raises(CommitError, match=f"damaged: {part.path}"):
        compact(nights, wait=WAIT)
    assert nights.list_files("labels") + nights.list_files("images") == before


def test_where_folders_cannot_be_exchanged_it_is_refused(run, photos):
    run = replace(run, root="memory://compaction/labels")
    fakes.label(run, fakes.refs(photos), 2)
    with pytest.raises(StoreError, match=r"cannot compact memory://compaction/labels: an object store cannot .*`ferflow export current`"):
        compact(open_store(run.root))


def test_a_run_that_is_always_read_keeps_its_parts(nights, monkeypatch):
    monkeypatch.setattr(compaction, "PATIENCE_SECONDS", 1.0)
    before = contents(nights)
    part = read_manifest(nights, "run-b").parts_of("labels")[0]
    # in one process with its reader, which holds a part of one run open: its query is not at its end
    code = "import sys; stream = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, nights.url(part.path)], stdin=pipe, stdout=pipe) as reader:
        reader.stdout.readline()
        done = compact(nights, wait=WAIT)
        assert done.busy == ("run-a", "run-b")
        manifest = read_manifest(nights, "run-b")
        assert {table: len(manifest.parts_of(table)) for table in ("labels", "images")} == {"labels": 8, "images": 1}
        assert verify(nights).ok
        assert verify(nights).notes == tuple(f"a compaction of run run-{name} is not finished: compact again" for name in "ab")
        assert all(contents(nights)[key].equals(before[key]) for key in before)
        reader.communicate()
    assert compact(nights, wait=WAIT).runs == 2
    assert all(contents(nights)[key].equals(before[key]) for key in before)
    assert verify(nights).notes == ()


def test_killed_anywhere_the_next_compaction_goes_on(nights, run, tmp_path):
    """A real process, killed before each of its changes in turn."""
    root, kept = tmp_path / "labels", tmp_path / "kept"
    before, rows = contents(nights), globbed(root)
    shutil.copytree(root, kept)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    for change in range(100):
        shutil.rmtree(root)
        shutil.copytree(kept, root)
        ended = subprocess.run([sys.executable, "-c", KILLED, str(root), str(change)], env=environment, check=False, timeout=280)
        assert ended.returncode in (0, -signal.SIGKILL)
        assert globbed(root) == rows
        report = verify(nights)
        assert report.ok, report.problems
        assert all(contents(nights)[key].equals(before[key]) for key in before)
        assert known_images(nights, run.source, run.pipeline_digest).num_rows == 8
        if ended.returncode == 0:
            break
        compact(nights, before="2026-01-02", wait=0.05)
        assert globbed(root) == rows
        assert len(read_manifest(nights, "run-a").parts) == 3
        assert verify(nights).notes == ()
        assert nights.list_files("_staging") == []
    assert change > 8


def test_staging_of_a_compaction_that_was_lost(nights):
    """The manifest names new parts that nobody has any more: the old ones stand, and are compacted anew."""
    before = contents(nights)
    begun = compaction._begin(nights, read_manifest(nights, "run-b"), lambda: None)
    assert begun.compacting
    nights.remove_tree("_staging")
    assert read_manifest(nights, "run-b").parts == begun.parts
    assert verify(nights).ok
    assert compact(nights, wait=WAIT).runs == 2
    assert all(contents(nights)[key].equals(before[key]) for key in before)


def test_manifests_of_a_compaction_are_plain_json(nights):
    compact(nights, wait=WAIT)
    data = nights.read_bytes("_meta/runs/run-b/manifest.json")
    manifest = Manifest.from_bytes(data)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert {part["table"] for part in json.loads(data)["replaced"]} == {"labels", "images"}


@pytest.mark.parametrize("again", [False, True])
def test_a_listing_in_the_very_last_moment(nights, monkeypatch, again):
    """Between the last look and the exchange somebody lists the old folder: it comes back, unless the new one was listed as well."""
    name = "labels/run_date=2026-01-01/run=run-a"
    folder, exchanging, moves, found = Path(nights.url(name)), compaction.Store.exchanging, [], []

    def late(store, one, other):
        exchange = exchanging(store, one, other)

        def step():
            if one == name and not moves:
                found.append(os.listdir(folder))
            exchange()
            if one == name:
                moves.append(one)
                if len(moves) == 1 and again:
                    found.append(os.listdir(folder))
                if len(moves) == 2:  # back: the reader comes to open what it found
                    assert all((folder / part).read_bytes() for part in found[0])

        return step

    monkeypatch.setattr(compaction.Store, "exchanging", late)
    assert compact(nights, wait=WAIT).busy == ()
    assert len(moves) == (1 if again else 3)
    assert [len(names) for names in found] == ([4, 1] if again else [4])
    assert verify(nights).ok


def test_the_command(nights, commands):
    done = commands.run("compact", nights.url(), "--before", "2026-01-02", "--wait", "0.3", "--json")
    assert done.code == 0, done.err
    assert done.json == {"runs": 1, "parts_before": 12, "parts_after": 3, "busy": []}
    assert nights.list_files("_meta/leases") == []
    with lease(nights, "run night"):
        refused = commands.run("compact", nights.url())
    assert (refused.code, "run night" in refused.line) == (1, True)
    assert commands.run("compact", nights.url(), "--before", "yesterday").code == 2
    assert commands.run("compact", nights.url(), "--wait", "-1").code == 2
    assert "there is no run in" in commands.run("compact", commands.home).line
    assert "2 runs" not in commands.run("compact", nights.url(), "--wait", "0.3").out
