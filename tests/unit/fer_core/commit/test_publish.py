import hashlib
import itertools
import threading
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.commit import publish as commit
from fer_core.commit.manifest import Manifest
from fer_core.commit.plan import Plan, read_plan, write_plan
from fer_core.commit.publish import committed_runs, final_receipts, is_committed, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.verify import verify
from fer_core.errors import CommitError, UsageError
from fer_core.pipeline.shard import label_shard
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.run.shard_job import ShardJob
from fer_core.storage.paths import manifest_file, published_file, receipt_file, run_folder, staged_file, staging_folder
from fer_core.storage.store import open_store
from fer_core.tables.schema import PLAN
from tests.support import fakes
from tests.support.fakes import CutOffError, FaultyStore
from tests.support.interruptions import cut_off_everywhere

MOMENT = datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC)

publish = partial(commit.publish, largest_part=0)  # parts stay apart, see tests/unit/fer_core/commit/test_coalesce.py


@pytest.fixture
def pictures(tmp_path):
    """Seven pictures with 0, 1, 2, 3, 0, 1, 2 faces."""
    return fakes.refs(fakes.write_pictures(tmp_path / "photos", [0, 1, 2, 3, 0, 1, 2]))


@pytest.fixture
def run(tmp_path):
    return fakes.config(tmp_path / "labels")


def receipt(part, images):
    return ShardReceipt(part, (PartReceipt("images", part, images, 1, "a" * 64),), {"no_face": images}, {}, 0, {})


def test_a_run_is_published_as_the_contract_says(run, pictures, tmp_path):
    manifest = fakes.label(run, pictures)
    folder = "run_date=2026-01-01/run=run-a"
    names = [f"part-0000{number}.parquet" for number in range(3)]
    expected = {f"{table}/{folder}/{name}" for table in ("labels", "images") for name in names}
    assert set(fakes.tree(tmp_path / "labels")) == expected | {"_meta/runs/run-a/plan.parquet", "_meta/runs/run-a/manifest.json"}
    assert {part.path for part in manifest.parts} == expected
    assert {part.path: part.sha256 for part in manifest.parts}.items() <= fakes.tree(tmp_path / "labels").items()
    assert (manifest.listed, manifest.unchanged, manifest.deleted, manifest.faces) == (7, 0, 0, 9)
    assert {status: count for status, count in manifest.statuses.items() if count} == {"labeled": 5, "no_face": 2}
    assert sum(manifest.expressions.values()) == 9
    assert manifest.run_config() == run
    assert read_manifest(open_store(run.root), "run-a") == manifest


def test_a_plan_comes_back(run, pictures):
    store = open_store(run.root)
    table = fakes.plan_table(pictures, 3)
    write_plan(store, Plan(run, table, listed=9, unchanged=2, deleted=1))
    plan = read_plan(store, "run-a")
    assert plan.images.equals(table)
    assert plan.images.schema.remove_metadata().equals(PLAN)
    assert (plan.config, plan.listed, plan.unchanged, plan.deleted) == (run, 9, 2, 1)


def test_run_ids_are_taken_once(run, pictures):
    store = open_store(run.root)
    write_plan(store, Plan(run, fakes.plan_table(pictures, 3), listed=7, unchanged=0, deleted=0))
    with pytest.raises(CommitError, match="run run-a exists already"):
        write_plan(store, Plan(run, fakes.plan_table(pictures, 3), listed=7, unchanged=0, deleted=0))


@pytest.mark.parametrize("run_id", ["", "Run", "1run", "../run", "a/b", "run_a", "run a", "run-a\n"])
def test_run_ids_that_are_none(run, run_id):
    store = open_store(run.root)
    with pytest.raises(UsageError, match="a run id is made of"):
        write_plan(store, Plan(replace(run, run_id=run_id), fakes.plan_table([], 3), listed=0, unchanged=0, deleted=0))
    with pytest.raises(CommitError, match="unknown run"):
        read_plan(store, run_id)
    assert not is_committed(store, run_id)


def test_unknown_and_damaged_runs(run, pictures):
    store = open_store(run.root)
    with pytest.raises(CommitError, match="unknown run: run-b"):
        read_plan(store, "run-b")
    with pytest.raises(CommitError, match="run run-b is not committed"):
        read_manifest(store, "run-b")
    for content in (b"", b"PAR1 no PAR1"):
        store.write_bytes("_meta/runs/run-b/plan.parquet", content)
        with pytest.raises(CommitError, match="the plan of run run-b cannot be read"):
            read_plan(store, "run-b")
    for content in (b"", b"[]", b"{}", b'{"parts": [{}]}'):
        store.write_bytes("_meta/runs/run-b/manifest.json", content)
        with pytest.raises(CommitError, match="the manifest of run run-b cannot be read"):
            read_manifest(store, "run-b")


def test_a_night_with_nothing_new_is_an_empty_commit(run):
    store = open_store(run.root)
    write_plan(store, Plan(run, fakes.plan_table([], 3), listed=5, unchanged=5, deleted=2))
    manifest = publish(store, run, [])
    assert (manifest.parts, manifest.faces, sum(manifest.statuses.values())) == ((), 0, 0)
    assert (manifest.listed, manifest.unchanged, manifest.deleted) == (5, 5, 2)
    assert committed_runs(store) == ["run-a"]


def test_counts_must_add_up(run, pictures):
    store = open_store(run.root)
    write_plan(store, Plan(run, fakes.plan_table(pictures, 3), listed=8, unchanged=0, deleted=0))
    receipts = [label_shard(job, fakes.tools()) for job in fakes.jobs(run, pictures, 3)]
    with pytest.raises(CommitError, match="accounts for 7 images of 8"):
        publish(store, run, receipts)
    assert not is_committed(store, "run-a")


def test_a_receipt_too_few_or_too_many_is_refused(run, pictures):
    receipts = fakes.stage_run(run, pictures)
    store = open_store(run.root)
    before = store.list_files()
    with pytest.raises(CommitError, match="run run-a is not finished: shard 1 has 0 of 3 images"):
        publish(store, run, [receipts[0], receipts[2]])
    with pytest.raises(CommitError, match="shard 7 has 4 of 0 images"):
        publish(store, run, [*receipts, receipt(PartName(7), 4)])
    with pytest.raises(CommitError, match="shard 1 has 2 of 3 images"):
        publish(store, run, [receipts[0], receipt(PartName(1).half(0), 1), receipt(PartName(1).half(1), 1), receipts[2]])
    assert store.list_files() == before


def test_receipts_may_come_twice_and_in_any_order(run, pictures, tmp_path):
    receipts = fakes.stage_run(run, pictures)
    publish(open_store(run.root), run, receipts, MOMENT)
    other = replace(run, root=str(tmp_path / "other"))
    again = fakes.stage_run(other, pictures)
    publish(open_store(other.root), other, [*reversed(again), again[1]], MOMENT)
    parts = [{path: digest for path, digest in fakes.tree(tmp_path / name).items() if path.endswith(".parquet") and "plan" not in path}
             for name in ("labels", "other")]  # fmt: skip
    assert parts[0] == parts[1] != {}


def test_committing_a_committed_run_changes_nothing_but_staging(run, pictures, tmp_path):
    manifest = fakes.label(run, pictures)
    before = fakes.tree(tmp_path / "labels")
    # a worker that was thought dead finishes late
    late = label_shard(fakes.jobs(run, pictures, 3)[0], fakes.tools())
    assert publish(open_store(run.root), run, [late]) == manifest
    assert fakes.tree(tmp_path / "labels") == before


def test_a_shard_cut_in_pieces(run, pictures, tmp_path):
    store = open_store(run.root)
    write_plan(store, Plan(run, fakes.plan_table(pictures, 4), listed=7, unchanged=0, deleted=0))
    first, second = fakes.jobs(run, pictures, 4)
    pieces = [
        ShardJob(run, PartName(0, ("0",)), first.images[:2]),
        ShardJob(run, PartName(0, ("1", "0")), first.images[2:3], crashed=True),
        ShardJob(run, PartName(0, ("1", "1")), first.images[3:]),
    ]
    receipts = [label_shard(job, fakes.tools()) for job in [*pieces, second]]
    manifest = publish(store, run, receipts)
    assert manifest.statuses["crashed"] == 1
    images = [part.path.rsplit("/", 1)[1] for part in manifest.parts_of("images")]
    assert images == ["part-00000-0.parquet", "part-00000-1-0.parquet", "part-00000-1-1.parquet", "part-00001.parquet"]


def test_resuming_finds_what_is_whole(run, pictures):
    receipts = fakes.stage_run(run, pictures)
    store = open_store(run.root)
    assert staged_receipts(store, "run-a") == {receipt.part: receipt for receipt in receipts}
    assert unfinished_shards(read_plan(store, "run-a"), staged_receipts(store, "run-a")) == []


@pytest.mark.parametrize("harm", ["part gone", "part torn", "receipt gone", "receipt torn", "receipt foreign"])
def test_resuming_does_torn_shards_again(run, pictures, harm):
    receipts = fakes.stage_run(run, pictures)
    store = open_store(run.root)
    what, how = harm.split()
    path = receipt_file("run-a", PartName(1)) if what == "receipt" else staged_file("run-a", receipts[1].parts[0])
    if how == "gone":
        store.move(path, "_staging/run-a/lost/x")
    else:
        store.write_bytes(path, b"[1, 2]" if how == "foreign" else store.read_bytes(path)[:-7])
    found = staged_receipts(store, "run-a")
    assert sorted(found) == [PartName(0), PartName(2)]
    assert unfinished_shards(read_plan(store, "run-a"), found) == [1]
    found[PartName(1)] = label_shard(fakes.jobs(run, pictures, 3)[1], fakes.tools())
    assert publish(store, run, found.values()).faces == 9


def test_resuming_an_unknown_run(run):
    with pytest.raises(CommitError, match="unknown run: run-z"):
        staged_receipts(open_store(run.root), "run-z")


def test_a_lost_part_is_not_promised(run, pictures):
    receipts = fakes.stage_run(run, pictures)
    store = open_store(run.root)
    part = receipts[1].parts[0]
    store.write_bytes(published_file(run, part), b"something else")
    store.move(staged_file("run-a", part), "_staging/run-a/lost/x")
    with pytest.raises(CommitError, match="neither staged nor published"):
        publish(store, run, receipts)
    assert not is_committed(store, "run-a")


def test_a_doubled_shard_that_rounded_differently_stays_consistent(run, pictures):
    """Two workers answer the same shard with different bytes: whichever receipt is used, its own files are published."""
    receipts = fakes.stage_run(run, pictures)
    job = fakes.jobs(run, pictures, 3)[1]
    other = label_shard(replace(job, config=replace(run, started_us=5)), fakes.tools())
    assert other.parts != receipts[1].parts
    store = open_store(run.root)
    manifest = publish(store, run, receipts)
    for part in manifest.parts:
        assert len(store.read_bytes(part.path)) == part.bytes
    assert {part.sha256 for part in receipts[1].parts} <= {part.sha256 for part in manifest.parts} == set(_digests(store, manifest))


def _digests(store, manifest):
    return [hashlib.sha256(store.read_bytes(part.path)).hexdigest() for part in manifest.parts]


def test_crops_then_labels_then_images_then_the_manifest(run, pictures):
    """Whatever row a reader sees while a run is published, the rows it refers to are there already."""
    receipts = fakes.stage_run(fakes.keeping_crops(run), pictures)
    moved = []

    class Watched(FaultyStore):
        def move(self, source, target):
            moved.append(target)
            super().move(source, target)

        def write_bytes(self, path, data):
            moved.append(path)
            super().write_bytes(path, data)

    publish(Watched(open_store(run.root), 0, "before"), run, receipts)
    order = [path.split("/")[0] for path in moved]
    assert [name for name, _ in itertools.groupby(order)] == ["_staging", "faces", "labels", "images", "_meta"]
    assert len(order) == 11, "what was begun, nine moves, the manifest"
    assert moved[:10] == [path for _, paths in itertools.groupby(moved[:10], lambda path: path.split("/")[0]) for path in sorted(paths)]


def test_parts_of_one_table_move_at_the_same_time_where_requests_wait_for_answers(pictures):
    """And all of them have ended before the next table's begin, and before the manifest."""
    run = fakes.keeping_crops(fakes.config("memory://test-moves/labels"))
    receipts = fakes.stage_run(run, pictures)
    tables, together = [], threading.Barrier(len(receipts))

    class Watched(FaultyStore):
        def move(self, source, target):
            together.wait(60)
            tables.append(target.split("/")[0])
            self.store.move(source, target)

        def write_bytes(self, path, data):
            tables.append(path.split("/")[0])
            self.store.write_bytes(path, data)

    store = open_store(run.root)
    manifest = publish(Watched(store, 0, "before"), run, receipts)
    assert [name for name, _ in itertools.groupby(tables)] == ["_staging", "faces", "labels", "images", "_meta"]
    assert len(manifest.parts) == 3 * len(receipts) > 6
    assert verify(store).problems == ()


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_interrupted_anywhere_and_done_again_it_ends_in_the_same_place(run, pictures, tmp_path, moment):
    """Cut off at every change in turn; then resumed from what staging tells, as another process would."""
    receipts = fakes.stage_run(run, pictures, 4)
    change = cut_off_everywhere(tmp_path / "labels", run, receipts, MOMENT, moment, publish)
    assert change == 8, "what was begun, four moves, the manifest, staging"


def test_half_published_pieces_give_way_to_the_whole(run, pictures, tmp_path):
    """A cut shard is half published when the commit dies; its rerun comes as a whole. No face may be there twice."""
    store = open_store(run.root)
    write_plan(store, Plan(run, fakes.plan_table(pictures, 7), listed=7, unchanged=0, deleted=0))
    (whole,) = fakes.jobs(run, pictures, 7)
    pieces = [ShardJob(run, PartName(0, ("0",)), whole.images[:3]), ShardJob(run, PartName(0, ("1",)), whole.images[3:])]
    halves = [label_shard(job, fakes.tools()) for job in pieces]
    with pytest.raises(CutOffError):
        publish(FaultyStore(store, 4, "after"), run, halves, MOMENT)
    assert len(store.list_files(run_folder(run, "labels"))) == 2
    # the manifest is not there: the whole shard is done again
    manifest = publish(store, run, [*halves, label_shard(whole, fakes.tools())], MOMENT)
    assert [part.path for part in manifest.parts] == [f"{run_folder(run, table)}/part-00000.parquet" for table in ("labels", "images")]
    assert store.list_files("labels") == [f"{run_folder(run, 'labels')}/part-00000.parquet"]
    assert store.list_files("images") == [f"{run_folder(run, 'images')}/part-00000.parquet"]
    assert store.list_files(staging_folder("run-a")) == []


NAMES = st.builds(PartName, st.integers(0, 2), st.lists(st.sampled_from("012"), max_size=3).map(tuple))


@settings(deadline=None, max_examples=100)
@given(st.lists(NAMES, max_size=12))
def test_settled_keeps_the_largest_answers(names):
    kept = [receipt.part for receipt in final_receipts(receipt(name, 1) for name in names)]
    assert kept == sorted(set(kept))
    below = [(whole, part) for whole in kept for part in kept if whole in part.ancestors]
    assert below == []
    for name in names:
        assert any(name == whole or whole in name.ancestors for whole in kept)
    assert set(kept) <= set(names)


def test_manifests_are_plain_json(run, pictures):
    manifest = fakes.label(replace(run, purpose="Übung 雪"), pictures)
    data = open_store(run.root).read_bytes(manifest_file("run-a"))
    assert Manifest.from_bytes(data) == manifest
    assert "Übung 雪" in data.decode()


def test_memory_stores_work_too(pictures):
    run = fakes.config("memory://test-commit/labels")
    manifest = fakes.label(run, pictures)
    store = open_store(run.root)
    assert store.list_files("_staging") == []
    assert store.list_files("labels") == [part.path for part in manifest.parts_of("labels")]


def test_plans_of_another_schema_are_refused(run):
    with pytest.raises((ValueError, pa.ArrowException)):
        write_plan(open_store(run.root), Plan(run, fakes.inventory([]), listed=0, unchanged=0, deleted=0))
