"""Roots that earlier versions wrote. What they hold must stay readable, verifiable and extendable for good."""

import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import fsspec
import pyarrow.parquet as pq
import pytest

from fer_core.collection.inventory import list_images
from fer_core.commit.publish import publish, read_manifest, read_plan, staged_receipts, unfinished_shards, write_plan
from fer_core.commit.reader import newest_run, read_images, read_labels
from fer_core.commit.verify import verify
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.storage.store import open_store
from fer_core.tables.schema import FACES, IMAGES, LABELS
from tests.golden.make_schema_1 import DAY_US, PHOTOS, night
from tests.support import fakes

GOLDEN = Path(__file__).parents[1] / "golden" / "schema-1"
TONIGHT_US = fakes.STARTED_US + 3 * DAY_US


@pytest.fixture
def root(tmp_path):
    """A copy that may be written to."""
    shutil.copytree(GOLDEN / "root", tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture
def photos():
    """The pictures under the addresses that the root knows, as they were on the third night."""
    memory = fsspec.filesystem("memory")
    for file in sorted((GOLDEN / "photos").iterdir()):
        if file.stem != "b2":
            memory.pipe_file(f"/golden-1/photos/{file.name}", file.read_bytes())
    memory.pipe_file("/golden-1/photos/b.png", (GOLDEN / "photos" / "b2.png").read_bytes())
    yield memory
    memory.rm("/golden-1", recursive=True)


def label_tonight(root, **changes):
    """A night as the flow does it, but for the cluster."""
    run = replace(night(str(root), 3, "fourth"), **changes)
    store = open_store(run.root)
    drawn = draft(store, run, list_images(PHOTOS), workers=1, force=False)
    plan = write_plan(store, drawn.config, drawn.images, listed=drawn.listed, unchanged=drawn.unchanged, deleted=drawn.deleted)
    shards = range(drawn.images.num_rows and 1 + max(drawn.images["shard"].to_pylist()))
    return publish(store, run, [label_shard(job, fakes.tools()) for job in jobs(plan.config, plan.images, list(shards))])


def test_it_is_readable(root):
    for table, schema, rows in (("labels", LABELS, 5), ("images", IMAGES, 7), ("faces", FACES, 5)):
        files = sorted((root / table).rglob("*.parquet"))
        assert all(pq.read_schema(file).remove_metadata().equals(schema) for file in files)
        assert sum(pq.read_metadata(file).num_rows for file in files) == rows
    labels, images = (f"read_parquet('{root}/{table}/**/*.parquet', hive_partitioning = true)" for table in ("labels", "images"))
    found = duckdb.sql(
        f"""select i.run, i.image_uri[length('{PHOTOS}/') + 1:], status, n_faces, count(l.face_id)
            from {images} i left join {labels} l using (run_id, image_uri) group by all order by all"""
    ).fetchall()
    assert found == [
        ("first", "a.png", "labeled", 1, 1),
        ("first", "b.png", "no_face", 0, 0),
        ("first", "c.png", "labeled", 2, 2),
        ("first", "d.txt", "unsupported", 0, 0),
        ("first", "e.png", "missing", 0, 0),
        ("second", "b.png", "labeled", 1, 1),
        ("second", "f.png", "labeled", 1, 1),
    ]


def test_its_runs_are_readable(root):
    store = open_store(str(root))
    assert newest_run(store).run_id == "second"
    first = read_manifest(store, "first")
    assert (first.listed, first.unchanged, first.faces, first.purpose) == (5, 0, 3, "golden")
    assert first.run_config() == night(first.run_config().root, 0, "first")
    assert read_images(store, first).num_rows == 5
    assert read_labels(store, first, [f"{PHOTOS}/c.png"])["face_index"].to_pylist() == [0, 1]


def test_it_is_verifiable(root):
    report = verify(open_store(str(root)))
    assert (report.ok, report.runs, report.parts, report.rows) == (True, 2, 6, 17)
    assert report.notes == ("staging of run third is left over",)
    part = next((root / "labels").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    assert not verify(open_store(str(root))).ok


def test_its_interrupted_run_is_resumed(root, photos):
    store = open_store(str(root))
    plan = read_plan(store, "third")
    receipts = staged_receipts(store, "third")
    assert unfinished_shards(plan, receipts) == [0]
    here = replace(plan.config, root=str(root))
    done = [label_shard(job, fakes.tools()) for job in jobs(here, plan.images, [0])]
    manifest = publish(store, here, [*receipts.values(), *done])
    assert {status: count for status, count in manifest.statuses.items() if count} == {"no_face": 1, "missing": 1}
    assert verify(store).ok


def test_it_is_extendable(root, photos):
    manifest = label_tonight(root)
    # the memory's listing has other times than the golden one: what did not change inside is taken over, `g` was never committed
    assert (manifest.listed, manifest.deleted, manifest.unchanged, manifest.reused) == (6, 1, 0, 4)
    report = verify(open_store(str(root)))
    assert (report.ok, report.runs) == (True, 3)
