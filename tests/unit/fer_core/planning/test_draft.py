"""The shards of a draft: their default size, and the measured cost of earlier runs."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.cost_model import CostRate
from fer_core.planning.draft import IMAGES_TO_TELL, LARGEST_SHARD, LARGEST_WITH_CROPS, draft
from fer_core.storage.store import open_store
from tests.support import fakes


def listing(count: int, size: int = 150_000) -> pa.Table:
    refs = [fakes.ImageRef(f"/photos/{number:06d}.jpg", size, None, 0) for number in range(count)]
    return fakes.inventory(refs)


@pytest.fixture
def run(tmp_path):
    return replace(fakes.config(tmp_path / "labels"), shard_size=0)


def drawn(run, count, workers=2, size=150_000):
    return draft(open_store(run.root), run, listing(count, size), workers=workers, force=False)


def counts(images: pa.Table) -> list[int]:
    return np.bincount(images["shard"].to_numpy()).tolist()


def test_shards_are_half_a_minute_then_shorter(run):
    found = drawn(run, 20_000)
    sizes = counts(found.images)
    assert sizes[0] == found.config.shard_size == max(sizes)
    assert sum(sizes[:1]) * CostRate().costs(np.array([150_000]))[0] == pytest.approx(30, rel=0.01)
    assert sizes == sorted(sizes, reverse=True)
    assert [len(job.images) for job in jobs(found.config, found.images, [0, len(sizes) - 1])] == [sizes[0], sizes[-1]]
    assert counts(drawn(run, 100_000, size=10).images)[0] <= LARGEST_SHARD
    assert max(counts(drawn(replace(run, keep_crops=True), 100_000, size=10).images)) == LARGEST_WITH_CROPS


def test_a_size_that_was_asked_for_is_kept(run):
    found = drawn(replace(run, shard_size=70), 300)
    assert (counts(found.images), found.config.shard_size) == ([70, 70, 70, 70, 20], 70)


def test_nothing_new_is_no_shard(run):
    assert drawn(run, 0).images.num_rows == 0


def test_what_an_earlier_run_took_is_learned(run, tmp_path):
    night = replace(run, run_id="night", shard_size=50)
    refs = fakes.refs(fakes.write_pictures(tmp_path / "photos", [1] * IMAGES_TO_TELL))
    store = open_store(run.root)
    write_plan(store, Plan(night, fakes.plan_table(refs, 50), listed=len(refs), unchanged=0, deleted=0))
    took = {"detect": 100.0, "load": 50.0}
    receipts = [replace(fakes.label_shard(job, fakes.tools()), seconds=took) for job in fakes.jobs(night, refs, 50)]
    publish(store, night, receipts)
    found = drawn(run, 20_000, size=refs[0].size)
    seconds = 200.0 / IMAGES_TO_TELL
    assert counts(found.images)[0] == pytest.approx(30 / seconds, abs=1)
    other = replace(run, min_face_px=99.0)  # another pipeline, of which nothing is known
    assert counts(drawn(other, 20_000, size=refs[0].size).images)[0] > 100
