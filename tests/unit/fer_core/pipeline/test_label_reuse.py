"""Listings that change where contents do not: labels are taken over, nothing is looked at again."""

import os
import shutil
from collections import Counter
from dataclasses import replace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.collection.inventory import list_images
from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish, read_manifest
from fer_core.commit.verify import verify
from fer_core.errors import ModelError
from fer_core.pipeline import shard
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.pipeline.worker_models import WorkerModels, load_worker_models
from fer_core.planning.draft import draft
from fer_core.run.shard_job import ImageRef
from fer_core.storage.paths import run_folder
from fer_core.storage.store import open_store
from tests.support import fakes

FACES_IN = [1, 0, 2, 3, 0]


class CountingDetector(fakes.FakeDetector):
    """Remembers how often it was asked."""

    def __init__(self):
        self.looked = 0

    def detect(self, pixels, side=None):
        self.looked += 1
        return super().detect(pixels)


@pytest.fixture
def photos(tmp_path):
    return fakes.write_pictures(tmp_path / "photos", FACES_IN)


@pytest.fixture
def run(tmp_path, photos):
    return fakes.config(tmp_path / "labels", source=str(photos))


def later(run, run_id, nights=1, **changes):
    return replace(run, run_id=run_id, started_us=run.started_us + nights * 86_400_000_000, **changes)


def label(run, inventory=None, force=False):
    """A night: (manifest, pictures that were looked at)."""
    store, detector = open_store(run.root), CountingDetector()
    listing = list_images(run.source) if inventory is None else inventory
    drawn = draft(store, replace(run, shard_size=2), listing, workers=1, force=force)
    plan = write_plan(store, drawn)
    shards = sorted(set(plan.images["shard"].to_pylist()))
    tools = WorkerModels(detector, fakes.FakePredictor())
    receipts = [label_shard(job, tools) for job in jobs(plan.config, plan.images, shards)]
    return publish(store, plan.config, receipts), detector.looked


def rows(run, table, *passing):
    """A run's rows of a table without what passes."""
    store = open_store(run.root)
    parts = store.list_files(run_folder(run, table))
    read = pa.concat_tables([pq.read_table(pa.BufferReader(store.read_bytes(path))) for path in parts])
    return read.replace_schema_metadata(None).drop_columns(list(passing)).sort_by("image_uri")


def copied(photos):
    """As `cp -r` leaves them: other times, the same bytes."""
    for number, file in enumerate(sorted(photos.iterdir())):
        os.utime(file, (1_700_000_000 + number, 1_800_000_000 + number))


def test_copied_files_are_not_looked_at_again(run, photos):
    assert label(run)[1] == 5
    copied(photos)
    second = later(run, "run-b")
    manifest, looked = label(second)
    assert looked == 0
    assert (manifest.listed, manifest.unchanged, manifest.faces, manifest.reused) == (5, 0, 6, 5)
    assert {status: count for status, count in manifest.statuses.items() if count} == {"labeled": 3, "no_face": 2}
    assert manifest.expressions == read_manifest(open_store(run.root), "run-a").expressions
    # and in the third night, nothing has changed any more
    manifest, looked = label(later(run, "run-c", 2))
    assert (manifest.unchanged, looked, manifest.reused) == (5, 0, 0)
    assert verify(open_store(run.root)).ok


def test_rows_are_those_that_looking_again_would_have_made(run, photos, tmp_path):
    run = fakes.keeping_crops(run)
    label(run)
    copied(photos)
    shutil.copytree(run.root, tmp_path / "other")
    reused = later(run, "run-b")
    forced = replace(reused, root=str(tmp_path / "other"))
    assert label(reused)[1] == 0
    assert label(forced, force=True)[1] == 5
    for table in ("labels", "images", "faces"):
        assert rows(reused, table).equals(rows(forced, table))
        assert rows(reused, table).num_rows > 0
    assert set(rows(reused, "labels")["run_id"].to_pylist()) == {"run-b"}


def test_only_what_changed_inside_is_looked_at(run, photos):
    label(run)
    copied(photos)
    (photos / "image-001.png").write_bytes(fakes.picture(2, seed=99))
    (photos / "new.png").write_bytes(fakes.picture(1, seed=98))
    manifest, looked = label(later(run, "run-b"))
    assert (looked, manifest.reused, manifest.faces) == (2, 4, 9)
    assert verify(open_store(run.root)).ok


@pytest.mark.parametrize(
    "clock", [-(2**40), -1, 1, 3_600_000_000, 2**50], ids=["before the epoch", "a tick back", "a tick on", "summer time", "far ahead"]
)
def test_clocks_that_are_wrong(run, photos, clock):
    listed = fakes.refs(photos)
    label(run, fakes.inventory(listed))
    skewed = [replace(ref, modified_us=ref.modified_us + clock) for ref in listed]
    assert label(later(run, "run-b"), fakes.inventory(skewed))[1] == 0


def test_etags_of_a_multipart_upload(run, photos):
    """The same content uploaded in parts of another size has another etag."""
    label(run, fakes.inventory([replace(ref, etag=f"{number:032x}") for number, ref in enumerate(fakes.refs(photos))]))
    again = [replace(ref, etag=f"{number:032x}-2") for number, ref in enumerate(fakes.refs(photos))]
    second = later(run, "run-b")
    manifest, looked = label(second, fakes.inventory(again))
    assert (looked, manifest.reused) == (0, 5)
    assert rows(second, "images")["etag"].to_pylist() == [ref.etag for ref in again]
    assert label(later(run, "run-c", 2), fakes.inventory(again))[0].unchanged == 5


def test_objects_that_were_uploaded_again(run, photos):
    memory = fsspec.filesystem("memory")
    for file in photos.iterdir():
        memory.pipe_file(f"/reuse-bucket/photos/{file.name}", file.read_bytes())
    source = "memory://reuse-bucket/photos"
    run = replace(run, source=source, root="memory://reuse-bucket/labels")
    assert label(run)[1] == 5
    for file in photos.iterdir():
        memory.pipe_file(f"/reuse-bucket/photos/{file.name}", file.read_bytes())
    manifest, looked = label(later(run, "run-b"))
    assert (looked, manifest.reused, manifest.unchanged) == (0, 5, 0)
    memory.rm("/reuse-bucket", recursive=True)


def test_after_a_night_on_which_nothing_could_be_reached(run, photos):
    label(run)
    away = photos.rename(photos.parent / "away")
    gone = fakes.inventory([ImageRef(str(photos / name.name), None, None, None) for name in sorted(away.iterdir())])
    manifest, looked = label(later(run, "run-b"), gone)
    assert (manifest.statuses["missing"], looked) == (5, 0)
    away.rename(photos)
    manifest, looked = label(later(run, "run-c", 2))
    assert (manifest.unchanged, looked, manifest.reused, manifest.faces) == (0, 0, 5, 6)


def test_back_to_an_earlier_pipeline(run, photos):
    label(run)
    assert label(later(run, "run-b", min_face_px=31.0))[1] == 5
    manifest, looked = label(later(run, "run-c", 2))
    assert (looked, manifest.reused, manifest.faces) == (0, 5, 6)


def test_another_pipeline_and_force_look_again(run, photos):
    label(run)
    copied(photos)
    assert label(later(run, "run-b", min_face_px=31.0))[1] == 5
    assert label(later(run, "run-c", 2), force=True)[1] == 5


def test_crops_are_taken_over_where_there_are_any(run, photos):
    label(run)
    copied(photos)
    with_crops = fakes.keeping_crops(later(run, "run-b"))
    manifest, looked = label(with_crops)
    # the two pictures without a face have no crops to miss, but their part has no faces beside it
    assert (looked, manifest.reused) == (5, 0)
    os.utime(photos / "image-003.png", (5, 5))
    third = fakes.keeping_crops(later(run, "run-c", 2))
    manifest, looked = label(third)
    assert (looked, manifest.reused) == (0, 1)
    assert rows(third, "faces", "run_id").equals(rows(with_crops, "faces", "run_id").filter(pa.array([False] * 3 + [True] * 3)))


@pytest.mark.parametrize("table", ["labels", "images"])
@pytest.mark.parametrize("harm", ["gone", "torn", "other rows"])
def test_whatever_is_wrong_with_the_earlier_part_the_image_is_labelled(run, photos, table, harm):
    label(run)
    copied(photos)
    store = open_store(run.root)
    second = later(run, "run-b")
    drawn = draft(store, replace(second, shard_size=2), list_images(run.source), workers=1, force=False)
    plan = write_plan(store, Plan(drawn.config, drawn.images, listed=5, unchanged=0, deleted=0))
    for path in store.list_files(run_folder(run, table)):
        if harm == "gone":
            store.remove_tree(path.rpartition("/")[0])
            break
        data = store.read_bytes(path)
        rest = pq.read_table(pa.BufferReader(data)).slice(0, 1)
        store.write_bytes(path, data[:-9] if harm == "torn" else shard.write_part(rest, {}))
    detector = CountingDetector()
    tools = WorkerModels(detector, fakes.FakePredictor())
    receipts = [label_shard(job, tools) for job in jobs(plan.config, plan.images, [0, 1, 2])]
    manifest = publish(store, plan.config, receipts)
    assert (manifest.faces, sum(manifest.statuses.values())) == (6, 5)
    assert detector.looked == 5 - manifest.reused
    assert detector.looked > 0


def test_where_all_is_taken_over_no_network_is_loaded(run, photos):
    label(run)
    copied(photos)
    store, second = open_store(run.root), later(run, "run-b")
    drawn = draft(store, replace(second, shard_size=10), list_images(run.source), workers=1, force=False)
    with pytest.raises(ModelError, match="unknown model"):
        load_worker_models(drawn.config)  # so it would fail
    (job,) = jobs(drawn.config, drawn.images, [0])
    receipt = label_shard(job)
    assert (receipt.reused, receipt.faces) == (5, 6)
    assert receipt.statuses == Counter({"labeled": 3, "no_face": 2})


def test_broken_pictures_have_another_chance(run, photos):
    (photos / "image-001.png").write_bytes(fakes.picture(1, fakes.HUGE))
    assert label(run)[0].statuses["too_large"] == 1
    copied(photos)
    manifest, looked = label(later(run, "run-b"))
    assert (looked, manifest.reused, manifest.statuses["too_large"]) == (1, 4, 1)


def test_moved_and_copied_files_are_not_looked_at_again(run, photos, tmp_path):
    """Under other names their rows are those that looking would have made; a file that only looks like a copy is processed."""
    run = fakes.keeping_crops(run)
    label(run)
    (tmp_path / "moved").mkdir()
    os.rename(photos, tmp_path / "moved/here")
    shutil.copytree(tmp_path / "moved/here", tmp_path / "moved/twice")
    other = tmp_path / "moved/twice/image-001.png"
    data = bytearray(other.read_bytes())
    assert len(data) >= 512
    other.write_bytes(bytes(len(data)))
    copied(tmp_path / "moved/twice")
    second = later(run, "run-b", source=str(tmp_path / "moved"))
    shutil.copytree(run.root, tmp_path / "other")
    forced = replace(second, root=str(tmp_path / "other"))
    manifest, looked = label(second)
    assert (manifest.listed, manifest.unchanged, manifest.reused, looked) == (10, 0, 9, 0)
    assert manifest.statuses["unsupported"] == 1
    label(forced, force=True)
    for table in ("labels", "images", "faces"):
        assert rows(second, table).sort_by([("image_uri", "ascending")]).equals(rows(forced, table).sort_by([("image_uri", "ascending")]))
    assert verify(open_store(run.root)).ok
