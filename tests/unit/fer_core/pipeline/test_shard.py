import io
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_core.errors import DetectorError, FerflowError, ImageError, ModelError, StoreError
from fer_core.pipeline import label_images
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.worker_models import WorkerModels, load_worker_models
from fer_core.quality_thresholds import QualityRule
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ImageRef, ShardJob
from fer_core.storage.paths import receipt_file, staged_file
from fer_core.storage.store import open_store, read_uri
from tests.support import fakes


@pytest.fixture
def run(tmp_path):
    return fakes.config(tmp_path / "labels")


@pytest.fixture
def folder(tmp_path):
    return fakes.write_pictures(tmp_path / "photos", [1, 0, 3])


def job_of(run, images, number=0):
    return ShardJob(run, PartName(number), tuple(images))


def staged(run, receipt, table):
    """Rows of a staged part, as dictionaries."""
    part = next(part for part in receipt.parts if part.table == table)
    return pq.read_table(pa.BufferReader(open_store(run.root).read_bytes(staged_file(run.run_id, part)))).to_pylist()


def statuses(run, receipt):
    return {row["image_uri"].rsplit("/", 1)[-1]: (row["status"], row["reason"]) for row in staged(run, receipt, "images")}


def test_one_shard(run, folder):
    receipt = label_shard(job_of(run, fakes.refs(folder)), fakes.tools())
    images, labels = staged(run, receipt, "images"), staged(run, receipt, "labels")
    assert [(row["status"], row["n_faces"], row["width"], row["height"]) for row in images] == [
        ("labeled", 1, 200, 64),
        ("no_face", 0, 200, 64),
        ("labeled", 3, 200, 64),
    ]
    assert [(row["image_uri"].rsplit("/", 1)[1], row["face_index"]) for row in labels] == [
        ("image-000.png", 0),
        ("image-002.png", 0),
        ("image-002.png", 1),
        ("image-002.png", 2),
    ]
    # the fake finds its best face last
    assert [row["box_x"] for row in labels[1:]] == [80, 40, 0]
    assert {row["image_sha256"] for row in labels} <= {row["image_sha256"] for row in images}
    assert (receipt.part, receipt.faces, receipt.statuses) == (PartName(0), 4, {"labeled": 2, "no_face": 1})
    assert receipt.expressions == Counter(row["expression"] for row in labels)
    assert set(receipt.seconds) == {"load", "read", "decode", "detect", "align", "predict", "write"}
    store = open_store(run.root)
    assert ShardReceipt.from_json(json.loads(store.read_bytes(receipt_file("run-a", PartName(0))))) == receipt
    assert len(store.list_files("_staging/run-a")) == 3


def test_the_receipt_comes_last(run, folder):
    written = []

    class Watched(fakes.FaultyStore):
        def write_bytes(self, path, data):
            written.append(path.split("/")[2])
            super().write_bytes(path, data)

    store = Watched(open_store(run.root), 0, "before")
    label_shard(job_of(fakes.keeping_crops(run), fakes.refs(folder)), fakes.tools(), store=store)
    assert written == ["labels", "images", "faces", "receipts"]


def test_twice_is_once(run, folder, tmp_path):
    first = label_shard(job_of(run, fakes.refs(folder)), fakes.tools())
    before = fakes.tree(tmp_path / "labels")
    second = label_shard(job_of(run, reversed(fakes.refs(folder))), fakes.tools())
    assert replace(first, seconds={}) == replace(second, seconds={})
    after = fakes.tree(tmp_path / "labels")
    assert before.keys() == after.keys()
    assert {path for path in before if before[path] != after[path]} <= {"_staging/run-a/receipts/part-00000.json"}


def test_nothing_is_lost(run, tmp_path):
    """Each way in which an image can fail is one row, and the good ones in between are labelled."""
    folder = tmp_path / "photos"
    folder.mkdir()
    contents = {
        "a-good.png": fakes.picture(1),
        "b-empty.jpg": b"",
        "c-text.jpg": b"holiday notes",
        "d-truncated.png": fakes.picture(1)[:200],
        "e-odd.png": fakes.picture(1, fakes.BROKEN),
        "f-huge.png": fakes.picture(1, fakes.HUGE),
        "g good%20 #ü.png": fakes.picture(1),
        "h-throttled.png": fakes.picture(1),
        "i-large.png": fakes.picture(1) + bytes(100_000),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    images = [*fakes.refs(folder), ImageRef(str(folder / "z-gone.png"), None, None, None)]

    def throttled(uri, limit, listed):
        if "throttled" in uri:
            raise StoreError("cannot read s3://x: slow down")
        return read_uri(uri, limit, listed)

    receipt = label_shard(job_of(replace(run, max_bytes=100_000), images), fakes.tools(), read=throttled)
    found = statuses(run, receipt)
    assert {name: status for name, (status, _) in found.items()} == {
        "a-good.png": "labeled",
        "b-empty.jpg": "unreadable",
        "c-text.jpg": "unsupported",
        "d-truncated.png": "unreadable",
        "e-odd.png": "unreadable",
        "f-huge.png": "too_large",
        "g good%20 #ü.png": "labeled",
        "h-throttled.png": "missing",
        "i-large.png": "too_large",
        "z-gone.png": "missing",
    }
    assert all((reason is None) == (status == "labeled") for status, reason in found.values())
    assert found["e-odd.png"][1] == "processing failed: ValueError: no idea what this is"
    assert found["h-throttled.png"][1] == "the store did not answer: cannot read s3://x: slow down"
    rows = {row["image_uri"].rsplit("/", 1)[1]: row for row in staged(run, receipt, "images")}
    # what is known of a lost image stands in its row: the digest as soon as its bytes were there, the size as soon as it was decoded
    assert {name[0] for name, row in rows.items() if row["image_sha256"]} == set("abcdefg")
    assert {name[0] for name, row in rows.items() if row["width"]} == set("aefg")
    assert receipt.faces == 2


def test_a_long_reason_is_cut_to_one_line(run, folder):
    def refuse(uri, limit, listed):
        raise ImageError("unreadable", "why\n" * 1000)

    receipt = label_shard(job_of(run, fakes.refs(folder)), fakes.tools(), read=refuse)
    reasons = {reason for _, reason in statuses(run, receipt).values()}
    assert reasons == {("why " * 100)[: label_images.REASON_LENGTH]}


def test_broken_tools_are_no_fault_of_the_images(run, folder, tmp_path):
    (folder / "image-001.png").write_bytes(fakes.picture(1, fakes.BROKEN_DETECTOR))
    with pytest.raises(DetectorError, match="the detector is broken"):
        label_shard(job_of(run, fakes.refs(folder)), fakes.tools())
    assert fakes.tree(tmp_path / "labels") == {} if (tmp_path / "labels").exists() else True


def test_a_missing_library_is_no_fault_of_the_images(run, folder, monkeypatch):
    """Regression: a module that could not be imported made every image `unreadable`, for good."""
    monkeypatch.setitem(sys.modules, "fer_core.align.quality", None)
    with pytest.raises(FerflowError, match="installation of ferflow is incomplete"):
        label_shard(job_of(run, fakes.refs(folder)), fakes.tools())


def test_a_store_that_cannot_be_written_is_told(run, folder):
    class Full(fakes.FaultyStore):
        def write_bytes(self, path, data):
            raise StoreError("cannot write /labels: no space left on device")

    with pytest.raises(StoreError, match="no space left"):
        label_shard(job_of(run, fakes.refs(folder)), fakes.tools(), store=Full(None, 0, "before"))


def test_a_crashed_image_is_not_touched(run):
    with pytest.raises(ModelError, match="unknown model"):
        load_worker_models(run)  # so it would fail
    job = ShardJob(run, PartName(3).half(1), (ImageRef("/p/killer.png", 5, None, 7),), crashed=True)
    receipt = label_shard(job, read=lambda uri, limit, listed: pytest.fail("it was read"))
    (row,) = staged(run, receipt, "images")
    assert (row["status"], row["reason"], row["n_faces"]) == ("crashed", "the worker died each time it processed this image", 0)
    assert staged(run, receipt, "labels") == []
    assert receipt.statuses == {"crashed": 1}


def test_small_faces_are_left_out_and_the_rest_counted_from_0(run, folder):
    sizes = np.array([[30, 36], [36, 15.9], [16, 16]], np.float32)

    class Detector(fakes.FakeDetector):
        def detect(self, pixels, side=None):
            faces = super().detect(pixels)
            faces.boxes[:, 2:] = faces.boxes[:, :2] + sizes[: len(faces)]
            return faces

    receipt = label_shard(job_of(run, fakes.refs(folder)), WorkerModels(Detector(), fakes.FakePredictor()))
    labels = [row for row in staged(run, receipt, "labels") if row["image_uri"].endswith("002.png")]
    assert [(row["face_index"], row["box_w"], row["box_h"]) for row in labels] == [(0, 16, 16), (1, 30, 36)]
    receipt = label_shard(job_of(replace(run, min_face_px=30.5), fakes.refs(folder)), WorkerModels(Detector(), fakes.FakePredictor()))
    assert receipt.statuses == {"no_face": 3}


def test_batches_are_bounded_and_answers_stay_with_their_faces(run, tmp_path):
    folder = fakes.write_pictures(tmp_path / "crowd", [200, 0, 200, 255, 1, 3])
    predictor = fakes.FakePredictor()
    images = fakes.refs(folder)
    receipt = label_shard(job_of(run, images), WorkerModels(fakes.FakeDetector(), predictor))
    assert predictor.batches == [256, 256, 147]
    together = {(row["image_uri"], row["face_index"]): row for row in staged(run, receipt, "labels")}
    assert len(together) == 659
    for number, image in enumerate(images):
        alone = label_shard(job_of(run, [image], number), fakes.tools())
        for row in staged(run, alone, "labels"):
            assert row == together[(row["image_uri"], row["face_index"])]


def test_rows_hang_neither_on_shards_nor_on_crops(run, tmp_path):
    folder = fakes.write_pictures(tmp_path / "photos", [1, 0, 3, 2, 2, 0, 1])
    images = fakes.refs(folder)

    def rows(size, config):
        receipts = [label_shard(job, fakes.tools()) for job in fakes.jobs(config, images, size)]
        return [[row for receipt in receipts for row in staged(config, receipt, table)] for table in ("labels", "images")]

    whole = rows(100, run)
    assert [len(table) for table in whole] == [9, 7]
    assert rows(3, run) == whole
    assert rows(1, replace(run, root=str(tmp_path / "other"))) == whole
    crops = fakes.keeping_crops(replace(run, shard_size=2, device="cpu"))
    assert rows(2, crops) == whole


def test_crops_are_kept_as_the_network_saw_them(run, folder):
    from PIL import Image

    run = fakes.keeping_crops(run)
    seen = []

    class Predictor(fakes.FakePredictor):
        def predict(self, crops):
            seen.extend(crops)
            return super().predict(crops)

    receipt = label_shard(job_of(run, fakes.refs(folder)), WorkerModels(fakes.FakeDetector(), Predictor()))
    crops = staged(run, receipt, "faces")
    labels = staged(run, receipt, "labels")
    assert [row["face_id"] for row in crops] == [row["face_id"] for row in labels]
    assert len(crops) == len(seen) == 4
    for row, crop in zip(crops, seen, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(row["crop_png"]))), crop)


def test_importing_it_is_quick_and_brings_no_orchestration():
    """A worker that imports prefect pays seconds at every start; one that only writes a `crashed` row needs no torch."""
    loaded = "sorted({name.split('.')[0] for name in sys.modules})"
    code = f"import sys, fer_core.pipeline.shard; print(*{loaded}, 'pyarrow.dataset' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": "."})
    loaded = set(done.stdout.split())
    assert "pyarrow" in loaded
    assert loaded.isdisjoint({"prefect", "distributed", "dask", "torch", "cv2", "insightface", "pandas", "duckdb", "s3fs", "True"})


def test_a_face_that_shows_too_little_is_marked_and_kept(run, folder):
    """In a whole shard: the same pictures under a rule that no face can meet."""
    ordinary = staged(run, label_shard(job_of(run, fakes.refs(folder)), fakes.tools()), "labels")
    strict = replace(run, quality_rule=QualityRule(face_size_px=1000))
    marked = staged(strict, label_shard(job_of(strict, fakes.refs(folder)), fakes.tools()), "labels")
    assert [row["needs_review"] for row in ordinary] == [False] * 4
    assert [row["needs_review"] for row in marked] == [True] * 4
    assert [row["expression"] for row in marked] == [row["expression"] for row in ordinary]
