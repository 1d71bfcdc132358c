"""Shard parts become few files before they are published; roots of releases that published every shard's part stay what they are."""

import hashlib
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.collection.inventory import list_images
from fer_core.commit.coalesce import coalesce, group_receipts
from fer_core.commit.lease import lease
from fer_core.commit.manifest import Manifest
from fer_core.commit.part_reader import part_rows
from fer_core.commit.plan import Plan, read_plan, write_plan
from fer_core.commit.publish import is_committed, publish, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.recovery import finish_interrupted_commits, gc_staging
from fer_core.commit.verify import verify
from fer_core.errors import CommitError
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.planning.incremental import load_processed_index
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.storage.paths import TABLES, manifest_file, staged_file
from fer_core.storage.store import open_store
from fer_core.tables.builder import part_metadata
from fer_core.tables.parquet_writer import write_merged
from fer_core.tables.schema import SCHEMAS
from flows.cli.main import main
from tests.golden.make_schema_1 import PHOTOS
from tests.support import fakes
from tests.support.earlier import earlier_part
from tests.support.fakes import CutOffError, FaultyStore
from tests.support.interruptions import cut_off_everywhere

GOLDEN = Path(__file__).parents[3] / "golden" / "before-coalescing"
FACES = [1, 0, 2, 3, 0, 1, 2, 1]
MOMENT = datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC)


@pytest.fixture
def photos(tmp_path):
    return fakes.write_pictures(tmp_path / "photos", FACES)


@pytest.fixture
def run(tmp_path, photos):
    """Crops are kept: three tables."""
    return fakes.keeping_crops(fakes.config(tmp_path / "labels", source=str(photos)))


def rows(store, table, run_id="run-a"):
    """As they are promised, part after part."""
    parts = read_manifest(store, run_id).parts_of(table)
    found = [pq.read_table(pa.BufferReader(store.read_bytes(part.path))).replace_schema_metadata(None) for part in parts]
    return pa.concat_tables(found)


def staged_rows(store, run, receipts, table):
    """What the shards have staged, sorted."""
    parts = [part for receipt in receipts for part in receipt.parts if part.table == table]
    found = [pq.read_table(pa.BufferReader(store.read_bytes(staged_file(run.run_id, part)))) for part in parts]
    keys = [(name, "ascending") for name in ("image_uri", "face_index") if name in found[0].column_names]
    return pa.concat_tables(found).replace_schema_metadata(None).sort_by(keys)


def test_many_shards_become_one_part_a_table(any_root, photos):
    run = fakes.keeping_crops(fakes.config(any_root, source=str(photos)))
    store = open_store(run.root)
    receipts = fakes.stage_run(run, fakes.refs(photos), 1)
    expected = {table: staged_rows(store, run, receipts, table) for table in TABLES}
    manifest = publish(store, run, receipts)
    assert [part.table for part in manifest.parts] == list(TABLES)
    assert len({part.path.rpartition("/")[2] for part in manifest.parts}) == 1, "what belongs together has one name"
    assert {table: rows(store, table).equals(expected[table]) for table in TABLES} == dict.fromkeys(TABLES, True)
    report = verify(store)
    assert (report.ok, report.parts, report.notes) == (True, 3, ())
    assert store.list_files("_staging") == []


def test_parts_keep_their_schema_order_and_provenance(run, photos):
    store = open_store(run.root)
    publish(store, run, fakes.stage_run(run, fakes.refs(photos), 1))
    for part in read_manifest(store, "run-a").parts:
        file = pq.ParquetFile(pa.BufferReader(store.read_bytes(part.path)))
        assert file.schema_arrow.remove_metadata().equals(SCHEMAS[part.table], check_metadata=True)
        assert file.schema_arrow.metadata[b"fer.run_id"] == b"run-a"
        keys = [name for name in ("image_uri", "face_index") if name in file.schema_arrow.names]
        columns = [file.schema_arrow.names[column.column_index] for column in file.metadata.row_group(0).sorting_columns]
        assert columns == keys
        found = [tuple(row[key] for key in keys) for row in file.read(columns=keys).to_pylist()]
        assert found == sorted(found)


@given(
    sizes=st.lists(st.tuples(*[st.integers(0, 50)] * 3), max_size=30),
    largest=st.integers(1, 120),
    order=st.randoms(use_true_random=False),
)
def test_groups_are_neighbours_and_no_larger_than_allowed(sizes, largest, order):
    receipts = [
        ShardReceipt(PartName(99_990 + number), tuple(PartReceipt(*of) for of in _parts(number, size)), {}, {}, 0, {})
        for number, size in enumerate(sizes)
    ]
    shuffled = order.sample(receipts, len(receipts))
    found = list(group_receipts(shuffled, largest))
    assert [receipt for group in found for receipt in group] == receipts, "in the order of shards, also beyond five digits"
    for group in found:
        total = {table: sum(part.size for receipt in group for part in receipt.parts if part.table == table) for table in TABLES}
        assert len(group) == 1 or max(total.values()) <= largest
    for group, following in pairwise(found):
        both = [*group, following[0]]
        assert max(sum(part.size for one in both for part in one.parts if part.table == table) for table in TABLES) > largest


def _parts(number, sizes):
    return [(table, PartName(99_990 + number), 1, size, "0" * 64) for table, size in zip(TABLES, sizes, strict=True)]


def test_large_parts_are_not_merged_into_larger_ones(run, photos):
    store = open_store(run.root)
    receipts = fakes.stage_run(run, fakes.refs(photos), 1)
    sizes = [max(part.size for part in receipt.parts) for receipt in receipts]
    parts = coalesce(store, run, receipts, lambda: None, largest=max(sizes[0] + sizes[1], *sizes))
    names = [part.name for part in parts if part.table == "images"]
    assert 1 < len(names) < 8
    assert sorted(names) == sorted({part.name for part in parts}), "each name is in every table"
    assert coalesce(store, run, receipts, lambda: None, largest=1) == [part for receipt in receipts for part in receipt.parts]


def test_a_killed_coalescing_finds_what_it_has_merged(run, photos):
    store = open_store(run.root)
    receipts = fakes.stage_run(run, fakes.refs(photos), 1)
    merged = coalesce(store, run, receipts, lambda: None)

    class Untouched:
        def __getattr__(self, name):
            assert name not in ("write_bytes", "move", "remove_tree"), "it was merged again"
            return getattr(store, name)

    assert coalesce(Untouched(), run, receipts, lambda: None) == merged
    lost = staged_file(run.run_id, merged[1])
    content = store.read_bytes(lost)
    store.write_bytes(lost, content[:-1])
    assert coalesce(store, run, receipts, lambda: None) == merged
    assert store.read_bytes(lost) == content
    store.write_bytes(f"_staging/run-a/coalesced/{merged[0].name}.json", b'["no receipt"]')
    assert coalesce(store, run, receipts, lambda: None) == merged


def test_shards_of_an_earlier_release_are_merged_with_those_of_this_one(run, photos):
    """A run that was begun before an upgrade and resumed after it."""
    store = open_store(run.root)
    first, *others = fakes.stage_run(run, fakes.refs(photos), 4)
    (labels,) = (part for part in first.parts if part.table == "labels")
    data = earlier_part(store.read_bytes(staged_file(run.run_id, labels)))
    earlier = replace(labels, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    store.write_bytes(staged_file(run.run_id, earlier), data)
    first = replace(first, parts=tuple(earlier if part is labels else part for part in first.parts))
    publish(store, run, [first, *others])
    assert rows(store, "labels").schema.equals(SCHEMAS["labels"], check_metadata=True)
    assert verify(store).problems == ()


def test_a_damaged_shard_part_is_not_merged(run, photos):
    store = open_store(run.root)
    receipts = fakes.stage_run(run, fakes.refs(photos), 1)
    path = staged_file(run.run_id, receipts[3].parts[0])
    store.write_bytes(path, store.read_bytes(path)[:-1])
    with pytest.raises(CommitError, match="neither staged nor published as its receipt says"):
        publish(store, run, receipts)
    assert not is_committed(store, "run-a")


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_interrupted_anywhere_and_done_again_it_ends_in_the_same_place(tmp_path, photos, moment):
    """Cut off at every change in turn, merging included; then resumed from what staging tells, as another process would."""
    run = fakes.keeping_crops(fakes.config(tmp_path / "labels", source=str(photos)))
    receipts = fakes.stage_run(run, fakes.refs(photos)[:4], 1)
    change = cut_off_everywhere(tmp_path / "labels", run, receipts, MOMENT, moment, publish)
    assert change == 11, "three merged parts and their receipt, what was begun, three moves, the manifest, staging"


def test_other_receipts_than_those_of_a_killed_commit(tmp_path, photos):
    """A shard is done as a whole after its halves were coalesced and half published: what they gave goes, nothing is there twice."""
    run = fakes.config(tmp_path / "labels", source=str(photos))
    store, images = open_store(run.root), fakes.refs(photos)[:4]
    receipts = fakes.stage_run(run, images, 2)
    job = fakes.jobs(run, images, 2)[1]
    halves = [label_shard(replace(job, part=job.part.half(n), images=(image,)), fakes.tools()) for n, image in enumerate(job.images)]
    with pytest.raises(CutOffError):
        publish(FaultyStore(store, 6, "before"), run, [receipts[0], *halves], MOMENT)
    assert len([path for path in store.list_files("labels") if path.endswith(".parquet")]) == 1
    manifest = publish(store, run, [*receipts, *halves], MOMENT)
    assert {part.path for part in manifest.parts} == {*store.list_files("labels"), *store.list_files("images")}
    assert verify(store).ok


def test_shards_whose_images_are_not_in_order_are_sorted(run, photos):
    """No plan of ours cuts them so; a file is sorted all the same."""
    store, images = open_store(run.root), fakes.refs(photos)
    write_plan(store, Plan(run, fakes.plan_table(images, 4), listed=8, unchanged=0, deleted=0))
    first, second = fakes.jobs(run, images, 4)
    crossed = [replace(first, images=(*first.images[:3], second.images[0])), replace(second, images=(first.images[3], *second.images[1:]))]
    publish(store, run, [label_shard(job, fakes.tools()) for job in crossed])
    uris = rows(store, "images")["image_uri"].to_pylist()
    assert uris == sorted(uris)
    assert len(set(uris)) == 8


def test_the_next_night_skips_and_takes_over_from_a_coalesced_run(run, photos):
    store = open_store(run.root)
    publish(store, run, fakes.stage_run(run, fakes.refs(photos), 1))
    tonight = replace(run, run_id="run-d", started_us=run.started_us + 9)
    assert draft(store, tonight, list_images(run.source), workers=1, force=False).unchanged == 8
    for file in photos.iterdir():
        os.utime(file, (5, 5))
    drawn = draft(store, replace(tonight, shard_size=3), list_images(run.source), workers=1, force=False)
    receipts = [label_shard(job, fakes.tools()) for job in jobs(drawn.config, drawn.images, [0, 1, 2])]
    assert sum(receipt.reused for receipt in receipts) == 8
    assert all(any(part.table == "faces" for part in receipt.parts) for receipt in receipts), "crops are taken over as well"


def test_rows_of_some_images_are_read_from_the_row_groups_that_may_hold_them(run, photos, monkeypatch):
    store = open_store(run.root)
    publish(store, run, fakes.stage_run(run, fakes.refs(photos), 1))
    images = rows(store, "images")
    data = write_merged((images.slice(row, 1) for row in range(8)), SCHEMAS["images"], part_metadata(run), group_rows=1)
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups == 8
    wanted = [ref.uri for ref in fakes.refs(photos)][2:7:2]
    reads = []
    read = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda self, number, **how: reads.append(number) or read(self, number, **how))
    found = part_rows(data, "images/part-00000.parquet", SCHEMAS["images"], uris=pa.array(wanted))
    assert (found["image_uri"].to_pylist(), reads) == (wanted, [2, 4, 6])
    assert part_rows(data, "images/part-00000.parquet", SCHEMAS["images"], uris=pa.array(["/elsewhere"])).num_rows == 0


def test_the_command_that_is_gone_says_what_replaces_it(capsys, tmp_path):
    assert main(["compact", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "ferflow compact was removed" in told
    assert "export current" in told


@pytest.fixture(params=["many-parts", "compacted", "compacting"])
def golden(request, tmp_path):
    """A copy of a root that an earlier release wrote."""
    shutil.copytree(GOLDEN / request.param, tmp_path / "root")
    return open_store(str(tmp_path / "root"))


@pytest.fixture
def earlier_photos():
    """The pictures under the addresses that the golden roots know."""
    memory = fsspec.filesystem("memory")
    for file in sorted((GOLDEN / "photos").iterdir()):
        memory.pipe_file(f"/golden-1/photos/{file.name}", file.read_bytes())
    yield
    memory.rm("/golden-1", recursive=True)


def test_roots_of_earlier_releases_are_readable_and_verifiable(golden):
    report = verify(golden)
    assert (report.problems, report.runs, report.rows) == ((), 2, 2 * (4 + 4 + 4))
    for run_id in ("first", "second"):
        assert {table: rows(golden, table, run_id).num_rows for table in TABLES} == dict.fromkeys(TABLES, 4)
        data = golden.read_bytes(manifest_file(run_id))
        assert Manifest.from_bytes(Manifest.from_bytes(data).to_bytes()) == Manifest.from_bytes(data)
    source, digest = (getattr(read_manifest(golden, "first"), name) for name in ("source", "pipeline_digest"))
    assert load_processed_index(golden, source, digest).num_rows == 4


def test_roots_of_earlier_releases_are_extended(golden, earlier_photos, request):
    """Where a compaction was cut off between two tables, parts of the same images have different names: these are labelled again."""
    config = read_manifest(golden, "second").run_config()
    tonight = replace(config, root=golden.url(), run_id="third", started_us=config.started_us + 10**9, shard_size=2)
    drawn = draft(golden, tonight, list_images(PHOTOS), workers=1, force=False)
    plan = write_plan(golden, drawn)
    shards = sorted(set(plan.images["shard"].to_pylist()))
    manifest = publish(golden, plan.config, [label_shard(job, fakes.tools()) for job in jobs(plan.config, plan.images, shards)])
    known = 0 if request.node.callspec.params["golden"] == "compacting" else 4
    assert (manifest.listed, manifest.unchanged + manifest.reused, len(manifest.parts)) == (4, known, 3)
    assert verify(golden).ok


def test_what_a_cut_off_compaction_left_is_collected(golden):
    with lease(golden, "housekeeping"):
        gc_staging(golden)
    assert golden.list_files("_staging") == []
    test_roots_of_earlier_releases_are_readable_and_verifiable(golden)


def test_a_commit_that_an_earlier_release_began_goes_on_as_it_began(tmp_path):
    """Two of twelve parts are visible: they stay where they are, and the others follow under their own names."""
    shutil.copytree(GOLDEN / "begun", tmp_path / "root")
    store = open_store(str(tmp_path / "root"))
    visible = {path: hashlib.sha256(store.read_bytes(path)).hexdigest() for path in store.list_files("faces")}
    assert len(visible) == 2
    assert unfinished_shards(read_plan(store, "first"), staged_receipts(store, "first")) == []
    assert finish_interrupted_commits(store) == ["first"]
    manifest = read_manifest(store, "first")
    assert visible.items() <= {part.path: part.sha256 for part in manifest.parts}.items()
    assert len(manifest.parts) == 12
    assert verify(store).ok
    assert store.list_files("_staging") == []


def test_shards_that_an_earlier_release_staged_are_coalesced(tmp_path):
    """Nothing of them was visible yet."""
    shutil.copytree(GOLDEN / "begun", tmp_path / "root")
    store = open_store(str(tmp_path / "root"))
    for path in store.list_files("faces"):
        (part,) = [
            part
            for receipt in staged_receipts(store, "first").values()
            for part in receipt.parts
            if path == f"faces/run_date=2026-01-01/run=first/{part.name.file}" and part.table == "faces"
        ]
        store.move(path, staged_file("first", part))
    store.remove_file("_staging/first/begun.json")
    manifest = publish(store, read_plan(store, "first").config, staged_receipts(store, "first").values())
    assert len(manifest.parts) == 3
    assert all(rows(store, table, "first").schema.equals(SCHEMAS[table], check_metadata=True) for table in TABLES)
    assert rows(store, "labels", "first")["novelty"].null_count == 4
    assert verify(store).ok
