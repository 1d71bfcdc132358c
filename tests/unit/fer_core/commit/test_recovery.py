"""What killed runs leave: half-published commits are finished, old staging is collected, a run at work is left alone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from fer_core.collection.inventory import list_images
from fer_core.commit import publish as commit
from fer_core.commit.lease import lease
from fer_core.commit.publish import committed_runs, is_committed, read_manifest, staged_receipts
from fer_core.commit.recovery import KEEP, discard, finish_interrupted_commits, gc_staging
from fer_core.commit.verify import verify
from fer_core.errors import CommitError
from fer_core.planning.draft import draft
from fer_core.planning.incremental import load_processed_index
from fer_core.storage.paths import TABLES
from fer_core.storage.store import open_store
from flows.label_summary import committed_summary
from tests.support import fakes

publish = partial(commit.publish, largest_part=0)  # parts stay apart, see tests/unit/fer_core/commit/test_coalesce.py

ANY_AGE = timedelta(days=-1)

KILLED = """
import os, signal, sys
from datetime import timedelta
from fer_core.commit.lease import lease
from fer_core.commit.recovery import gc_staging
from fer_core.storage.store import open_store

left = int(sys.argv[2])
unlink = os.unlink

def counted(*args, **kwargs):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    unlink(*args, **kwargs)

store = open_store(sys.argv[1])
with lease(store, "run other"):
    os.unlink = counted
    gc_staging(store, timedelta(days=-1))
"""


@pytest.fixture
def pictures(tmp_path):
    return fakes.refs(fakes.write_pictures(tmp_path / "photos", [0, 1, 2, 3]))


@pytest.fixture
def run(tmp_path):
    return fakes.config(tmp_path / "labels", source=str(tmp_path / "photos"))


def collect(store, keep=KEEP):
    with lease(store, "run collector"):
        return gc_staging(store, keep)


def grow_old(root, run_id, days):
    for file in (root / "_staging" / run_id).rglob("*"):
        os.utime(file, (time.time() - days * 86_400,) * 2)


def test_a_commit_that_was_cut_off_anywhere_is_finished_by_the_next_run(run, pictures, tmp_path):
    receipts = fakes.stage_run(run, pictures, 2)
    root, staged = tmp_path / "labels", tmp_path / "staged"
    shutil.copytree(root, staged)
    undisturbed = publish(open_store(run.root), run, receipts)
    tables = {path: digest for path, digest in fakes.tree(root).items() if path.startswith(TABLES)}
    for change in range(2, 100):
        shutil.rmtree(root)
        shutil.copytree(staged, root)
        store = open_store(run.root)
        try:
            publish(fakes.FaultyStore(store, change, "after"), run, receipts)
            break
        except fakes.CutOffError:
            pass
        began = change < 6  # the note of what is begun, four moves, then the manifest
        assert finish_interrupted_commits(store) == (["run-a"] if began else [])
        assert replace(read_manifest(store, "run-a"), committed_at=undisturbed.committed_at) == undisturbed
        assert {path: digest for path, digest in fakes.tree(root).items() if path.startswith(TABLES)} == tables
        assert verify(store).ok
        night = replace(run, run_id="run-b", started_us=run.started_us + 1)
        assert draft(store, night, list_images(run.source), workers=1, force=False).unchanged == 4
        assert finish_interrupted_commits(store) == []
    assert change == 8


def test_a_run_that_has_published_nothing_is_left_to_be_resumed(run, pictures):
    receipts = fakes.stage_run(run, pictures, 2)
    store = open_store(run.root)
    assert finish_interrupted_commits(store) == []
    assert not is_committed(store, "run-a")
    assert staged_receipts(store, "run-a") == {receipt.part: receipt for receipt in receipts}


def test_what_cannot_be_finished_is_taken_back(run, pictures, tmp_path):
    receipts = fakes.stage_run(run, pictures, 2)
    store = open_store(run.root)
    with pytest.raises(fakes.CutOffError):
        publish(fakes.FaultyStore(store, 4, "after"), run, receipts)
    store.remove_tree("_staging/run-a/receipts")
    assert finish_interrupted_commits(store) == []
    assert [path for table in TABLES for path in store.list_files(table)] == []
    assert load_processed_index(store, run.source, run.pipeline_digest).num_rows == 0
    assert verify(store).ok
    # and it can be resumed, from the beginning
    fakes_again = [fakes.label_shard(job, fakes.tools()) for job in fakes.jobs(run, pictures, 2)]
    assert publish(store, run, fakes_again).faces == 6


def test_whoever_finds_the_lease_lost_stops(run, pictures):
    receipts = fakes.stage_run(run, pictures, 2)
    store = open_store(run.root)
    with pytest.raises(fakes.CutOffError):
        publish(fakes.FaultyStore(store, 3, "after"), run, receipts)
    before = store.list_files()

    def lost():
        raise fakes.CutOffError

    with pytest.raises(fakes.CutOffError):
        finish_interrupted_commits(store, lost)
    assert store.list_files() == before


def test_staging_is_collected_by_its_age(run, pictures, tmp_path):
    store = open_store(run.root)
    fakes.stage_run(run, pictures, 2)
    fakes.stage_run(replace(run, run_id="run-b"), pictures, 2)
    grow_old(tmp_path / "labels", "run-a", 15)
    grow_old(tmp_path / "labels", "run-b", 13)
    assert collect(store) == ["run-a"]
    assert {path.split("/")[1] for path in store.list_files("_staging")} == {"run-b"}
    assert collect(store) == []
    # one young file is enough: the run has been resumed
    grow_old(tmp_path / "labels", "run-b", 30)
    next((tmp_path / "labels" / "_staging" / "run-b").rglob("*.json")).touch()
    assert collect(store) == []


def test_staging_of_a_committed_run_goes_at_once(any_root, pictures):
    """Regression: a run that was killed while it removed its staging left the rest for two weeks, though it could not be resumed."""
    run = fakes.config(any_root)
    receipts = fakes.stage_run(run, pictures, 2)
    store = open_store(any_root)
    with pytest.raises(fakes.CutOffError):
        publish(fakes.FaultyStore(store, 7, "before"), run, receipts)
    assert is_committed(store, "run-a")
    assert store.list_files("_staging/run-a") != []
    with lease(store, "run run-a"):
        assert gc_staging(store) == []
    fakes.stage_run(replace(run, run_id="run-b"), pictures, 2)
    assert collect(store) == ["run-a"]
    assert {path.split("/")[1] for path in store.list_files("_staging")} == {"run-b"}


def test_resuming_a_committed_run_tidies_up(run, pictures):
    """Regression: it told of the run and left its staging where it was."""
    receipts = fakes.stage_run(run, pictures, 2)
    store = open_store(run.root)
    with pytest.raises(fakes.CutOffError):
        publish(fakes.FaultyStore(store, 7, "before"), run, receipts)
    assert store.list_files("_staging") != []
    assert committed_summary(run.root, "run-a").manifest == read_manifest(store, "run-a")
    assert store.list_files("_staging") == []


def test_ages_are_the_storages_own(any_root, pictures):
    run = fakes.config(any_root)
    fakes.stage_run(run, pictures, 2)
    store = open_store(any_root)
    assert collect(store, timedelta(hours=1)) == []
    assert collect(store, ANY_AGE) == ["run-a"]
    assert store.list_files("_staging") == []


def test_never_that_of_a_run_at_work(run, pictures, tmp_path):
    store = open_store(run.root)
    fakes.stage_run(run, pictures, 2)
    grow_old(tmp_path / "labels", "run-a", 400)
    with lease(store, "run run-a"):
        assert gc_staging(store) == []
        assert gc_staging(store, ANY_AGE) == []
    assert store.list_files("_staging/run-a") != []
    assert collect(store) == ["run-a"]


def test_without_a_lease_nothing_is_collected(run, pictures):
    fakes.stage_run(run, pictures, 2)
    assert gc_staging(open_store(run.root), ANY_AGE) == []


def test_a_resumed_run_whose_staging_was_collected_does_its_shards_again(run, pictures):
    store = open_store(run.root)
    receipts = fakes.stage_run(run, pictures, 2)
    assert collect(store, ANY_AGE) == ["run-a"]
    assert staged_receipts(store, "run-a") == {}
    again = [fakes.label_shard(job, fakes.tools()) for job in fakes.jobs(run, pictures, 2)]
    assert [receipt.parts for receipt in again] == [receipt.parts for receipt in receipts]
    assert publish(store, run, again).faces == 6
    assert committed_runs(store) == ["run-a"]


@pytest.mark.parametrize("removed", [0, 1, 3, 5])
def test_killed_while_collecting(run, pictures, tmp_path, removed):
    """A real process, killed after some files are gone: the rest goes the next time, and no torn shard counts."""
    store = open_store(run.root)
    fakes.label(replace(run, run_id="run-z"), pictures)
    fakes.stage_run(run, pictures, 2)
    files = len(store.list_files("_staging"))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[4])}
    words = [sys.executable, "-c", KILLED, run.root, str(removed)]
    assert subprocess.run(words, env=environment, check=False, timeout=280).returncode == -signal.SIGKILL
    assert len(store.list_files("_staging")) == files - removed
    for receipt in staged_receipts(store, "run-a").values():
        assert all(store.exists(f"_staging/run-a/{part.table}/{_name(part)}") for part in receipt.parts)
    assert collect(store, ANY_AGE) == ["run-a"]
    assert not [file for file in (tmp_path / "labels" / "_staging").rglob("*") if file.is_file()]
    assert verify(store).ok


def _name(part):
    return f"{part.name}.{part.sha256[:16]}.parquet"


def test_what_was_never_finished_goes_a_day_later(run, pictures, tmp_path):
    """Regression: a writer that was killed left a hidden file, which was never removed."""
    root, store = tmp_path / "labels", open_store(run.root)
    fakes.label(run, pictures, 2)
    for place, days in (("_meta/runs/run-a", 2), ("_meta/leases", 0.5), ("_staging/run-b/labels", 30), ("_staging/run-c/labels", 3)):
        (root / place).mkdir(parents=True, exist_ok=True)
        file = root / place / f".some.json.{'0' * 16}.tmp"
        file.write_bytes(b"{")
        os.utime(file, (time.time() - days * 86_400,) * 2)
    assert collect(store) == ["run-b"]
    assert store.list_unfinished() == [f"{place}/.some.json.{'0' * 16}.tmp" for place in ("_meta/leases", "_staging/run-c/labels")]
    assert verify(store).ok


def test_fences_go_a_day_later(run, tmp_path):
    store = open_store(run.root)
    for name, days in (("old", 2), ("new", 0.5)):
        store.write_bytes(f"_meta/leases/{name}.fenced", b"")
        os.utime(tmp_path / "labels/_meta/leases" / f"{name}.fenced", (time.time() - days * 86_400,) * 2)
    collect(store)
    assert store.list_files("_meta/leases") == ["_meta/leases/new.fenced"]


class Faulty(fakes.FaultyStore):
    """That counts files removed one by one as well."""

    def remove_file(self, path):
        self._change(lambda: self.store.remove_file(path))


def test_a_killed_run_is_discarded_with_all_it_left_wherever_that_is_interrupted(run, pictures, tmp_path):
    receipts = fakes.stage_run(replace(run, keep_crops=True), pictures, 2)
    store = open_store(run.root)
    with pytest.raises(fakes.CutOffError):
        publish(fakes.FaultyStore(store, 4, "after"), run, receipts)  # some of its parts are visible
    (tmp_path / "labels/_staging/run-a/.half.parquet.0123456789abcdef.tmp").write_bytes(b"a face")
    root, before = tmp_path / "labels", tmp_path / "before"
    shutil.copytree(root, before)
    for change in range(1, 20):
        shutil.rmtree(root)
        shutil.copytree(before, root)
        try:
            discard(Faulty(store, change, "after"), "run-a")
            break
        except fakes.CutOffError:
            with suppress(CommitError):  # where nothing was left
                discard(store, "run-a")
        finally:
            assert [file for file in root.rglob("*") if file.is_file()] == []
    assert change > 3
    with pytest.raises(CommitError, match=r"^run run-a is unknown in "):
        discard(store, "run-a")


def test_what_is_committed_or_was_never_there_is_not_discarded(run, pictures, any_root):
    here = replace(run, root=any_root)
    store = open_store(any_root)
    publish(store, here, fakes.stage_run(here, pictures, 2))
    gone = replace(here, run_id="run-b")
    fakes.stage_run(gone, pictures, 2)
    before = store.list_files()
    with pytest.raises(CommitError, match=r"^run run-a is committed: "):
        discard(store, "run-a")
    for unknown in ("run-c", "../labels", ""):
        with pytest.raises(CommitError, match=r" is unknown in "):
            discard(store, unknown)
    assert store.list_files() == before
    assert discard(store, "run-b") == sum("run-b" in path for path in before)
    assert store.list_files() == [path for path in before if "run-b" not in path]
    assert verify(store).ok
