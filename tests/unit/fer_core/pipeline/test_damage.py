"""What is read of a damaged file is marked: its row has a reason, and its faces need review, also when they are labelled again."""

from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.commit.verify import verify
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.quality_thresholds import QualityRule
from fer_core.storage.store import open_store
from fer_core.types import Faces
from tests.support import fakes
from tests.support.broken_images import encoded, portrait
from tests.support.relabelled import relabel


class TwoFaces:
    """Finds two faces in every picture."""

    identity = "two-1"

    def detect(self, pixels, side=None, /):
        boxes = np.array([[100, 50, 200, 150], [210, 50, 310, 150]], np.float32)
        points = boxes[:, None, :2] + np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
        return Faces(boxes, points, np.array([0.9, 0.8], np.float32))


@pytest.fixture
def run(tmp_path):
    config = fakes.keeping_crops(fakes.config(tmp_path / "labels"))
    return replace(config, quality_rule=QualityRule(0, 0, 0, 180))


def test_faces_of_damaged_files_need_review(run, tmp_path):
    photos, jpeg = tmp_path / "photos", encoded(portrait(), "JPEG", quality=92)
    photos.mkdir()
    (photos / "cut.jpg").write_bytes(jpeg[: len(jpeg) * 9 // 10])
    (photos / "whole.jpg").write_bytes(jpeg)
    images, store = fakes.refs(photos), open_store(run.root)
    write_plan(store, Plan(run, fakes.plan_table(images, 2), listed=2, unchanged=0, deleted=0))
    publish(store, run, [label_shard(job, WorkerModels(TwoFaces(), fakes.FakePredictor())) for job in fakes.jobs(run, images, 2)])
    relabel(run.root, "again", 2, hour=1)
    for run_id in (run.run_id, "again"):
        (file,) = (name for name in store.list_files("images") if f"run={run_id}/" in name)
        cut, whole = pq.ParquetFile(f"{run.root}/{file}").read().to_pylist()
        assert (cut["status"], cut["reason"]) == ("labeled", "truncated JPEG image: 92% of its rows are there")
        assert (whole["status"], whole["reason"]) == ("labeled", None)
        marks = pq.ParquetFile(f"{run.root}/{file.replace('images/', 'labels/')}").read()["needs_review"].to_pylist()
        assert marks[:2] == [True, True]
        if run_id == run.run_id:
            assert marks[2:] == [False, False]
    assert verify(store).problems == ()
