"""Roots that earlier versions wrote. What they hold must stay readable, verifiable and extendable for good."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.collection.inventory import list_images
from fer_core.commit.plan import read_plan, write_plan
from fer_core.commit.publish import publish, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.reader import newest_run, read_images, read_labels
from fer_core.commit.verify import verify
from fer_core.export.current_file import export_current
from fer_core.export.current_view import views
from fer_core.export.delta import register
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.relabel.changes import changes_of
from fer_core.relabel.shard import relabel_shard
from fer_core.review.candidates import Candidates
from fer_core.review.incoming import import_reviews
from fer_core.review.opinions import disagreement
from fer_core.review.present import present_labels
from fer_core.review.reviewed import reviewed_faces
from fer_core.storage.store import open_store
from fer_core.tables.schema import FACES, IMAGES, LABELS
from flows.label_summary import detector_told
from tests.golden.make_schema_1 import DAY_US, PHOTOS, night
from tests.support import fakes
from tests.support.earlier import earlier_schema
from tests.support.relabelled import SeedPredictor
from tests.support.relabelled import plan as plan_relabelling
from tests.support.reviews import correction, corrections, labels_of, written

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


@dataclass
class NoveltyPredictor(SeedPredictor):
    """A model that says how unlike training a face is."""

    def predict(self, crops, /):
        return replace(super().predict(crops), novelty=np.full(len(crops), 0.25, np.float32))


def label_tonight(root, predictor=None, **changes):
    """A night as the flow does it, but for the cluster."""
    run = replace(night(str(root), 3, "fourth"), **changes)
    store = open_store(run.root)
    drawn = draft(store, run, list_images(PHOTOS), workers=1, force=False)
    plan = write_plan(store, drawn)
    tools = replace(fakes.tools(), predictor=predictor or fakes.FakePredictor())
    shards = range(drawn.images.num_rows and 1 + max(drawn.images["shard"].to_pylist()))
    return publish(store, run, [label_shard(job, tools) for job in jobs(plan.config, plan.images, list(shards))])


def test_it_is_readable(root):
    for table, schema, rows in (("labels", LABELS, 5), ("images", IMAGES, 7), ("faces", FACES, 5)):
        files = sorted((root / table).rglob("*.parquet"))
        assert all(pq.read_schema(file).remove_metadata().equals(earlier_schema(schema)) for file in files)
        assert sum(pq.read_metadata(file).num_rows for file in files) == rows
    labels, images = (f"read_parquet('{root}/{table}/**/*.parquet', hive_partitioning = true)" for table in ("labels", "images"))
    found = (
        duckdb.connect()
        .sql(
            f"""select i.run, i.image_uri[length('{PHOTOS}/') + 1:], status, n_faces, count(l.face_id)
            from {images} i left join {labels} l using (run_id, image_uri) group by all order by all"""
        )
        .fetchall()
    )
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
    assert read_labels(store, first, [f"{PHOTOS}/c.png"])["novelty"].to_pylist() == [None, None]


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
    assert columns_of(store, manifest) == LABELS.names


def test_it_is_extendable(root, photos):
    manifest = label_tonight(root)
    # the memory's listing has other times than the golden one: what did not change inside is taken over, `g` was never committed
    assert (manifest.listed, manifest.deleted, manifest.unchanged, manifest.reused) == (6, 1, 0, 4)
    store = open_store(str(root))
    report = verify(store)
    assert (report.ok, report.runs) == (True, 3)
    assert columns_of(store, manifest) == LABELS.names
    assert read_labels(store, manifest, [f"{PHOTOS}/c.png"])["novelty"].to_pylist() == [None, None]


def test_it_is_labelled_anew_where_a_smallest_face_is_asked_for_and_reused_as_before_where_not(root, photos):
    """What earlier releases wrote is another pipeline than any `--min-face`. What resumes or relabels their runs continues it."""
    first = label_tonight(root, min_face="1%")
    assert (first.unchanged, first.reused, first.statuses["labeled"]) == (0, 0, 4)
    store = open_store(str(root))
    assert (first.config["min_face"], "min_face_px" in first.config) == ("1%", False)
    assert detector_told(first) == "fake-1, smallest face 1%"
    assert read_manifest(store, "first").run_config().pipeline_digest == read_manifest(store, "first").pipeline_digest
    assert detector_told(read_manifest(store, "first")) == "fake-1"
    run = replace(night(str(root), 4, "fifth"), min_face="1%")
    assert draft(store, run, list_images(PHOTOS), workers=1, force=False).unchanged == 6
    before = replace(run, min_face=None)
    assert draft(store, before, list_images(PHOTOS), workers=1, force=False).unchanged == 0  # the memory's listing has other times
    manifest = label_tonight(root, run_id="sixth")
    assert (manifest.reused, "min_face" in manifest.config) == (4, False)
    assert verify(store).ok


def columns_of(store, manifest):
    """Of the run's labels as they lie in the one file."""
    (part,) = manifest.parts_of("labels")
    return pq.read_schema(pa.BufferReader(store.read_bytes(part.path))).names


@pytest.fixture
def extended(root, photos):
    """The store after a night with a model that says novelty; `c.png` had left the collection."""
    photos.rm("/golden-1/photos/c.png")
    manifest = label_tonight(root, NoveltyPredictor(1), model_digest=NoveltyPredictor(1).digest)
    assert (manifest.unchanged, manifest.reused, manifest.faces) == (0, 0, 3)
    return open_store(str(root))


CURRENT = [
    ("a.png", "fourth", 0.25),
    ("b.png", "fourth", 0.25),
    ("c.png", "first", None),
    ("c.png", "first", None),
    ("f.png", "fourth", 0.25),
]


def current(rows):
    return [(row["image_uri"].removeprefix(f"{PHOTOS}/"), row["run_id"], row["novelty"]) for row in rows.to_pylist()]


def test_its_labels_and_those_of_tonight_are_current_together(extended, tmp_path):
    assert verify(extended).problems == ()
    with duckdb.connect() as database:
        database.execute(views(extended))
        assert current(database.sql("FROM current ORDER BY image_uri, face_index").to_arrow_table()) == CURRENT
    found = export_current(extended, open_store(str(tmp_path / "current")))
    exported = pq.ParquetFile(found.file).read()
    assert exported.schema.remove_metadata().equals(LABELS, check_metadata=True)
    assert current(exported) == CURRENT


def test_it_is_relabelled(extended, root):
    config, todo = plan_relabelling(root, "again", 2, 24 * 4)
    manifest = publish(extended, config, [relabel_shard(job, NoveltyPredictor(2)) for job in todo])
    assert (manifest.faces, columns_of(extended, manifest)) == (5, LABELS.names)
    uris = [f"{PHOTOS}/{name}.png" for name in "abcf"]
    assert read_labels(extended, manifest, uris)["novelty"].to_pylist() == [0.25] * 5
    assert changes_of(extended, manifest).matrix.sum() == 5
    assert verify(extended).problems == ()


def test_it_is_reviewed(extended, root, tmp_path):
    with present_labels(extended) as labels:
        faces = Candidates.of(labels)
        assert [novelty for _, _, novelty in current(labels.rows(faces.rows))] == [novelty for _, _, novelty in CURRENT]
    assert (disagreement(extended, faces).distance > 0).any()
    said = [correction(row, "surprise") for row in labels_of(root)]
    assert import_reviews(extended, written(tmp_path / "said.json", corrections(said))).new == 5
    reviewed = reviewed_faces(extended)
    assert (len(reviewed), len(reviewed.orphans)) == (5, 0)
    assert sorted(reviewed.labels["novelty"].to_pylist(), key=str) == [0.25] * 3 + [None] * 2


def test_it_is_registered_as_a_delta_table(extended):
    deltalake = pytest.importorskip("deltalake", reason="the extra `delta` is not installed")
    found = register(extended, "labels")
    assert found.runs == ("first", "second", "fourth")
    rows = pa.table(deltalake.DeltaTable(found.table).scan(["run_id", "novelty"])).to_pylist()
    assert sorted((row["run_id"], row["novelty"]) for row in rows if row["run_id"] == "fourth") == [("fourth", 0.25)] * 3
    assert [row["novelty"] for row in rows if row["run_id"] != "fourth"] == [None] * 5
