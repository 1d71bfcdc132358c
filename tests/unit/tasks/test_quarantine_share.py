"""The share of a night that is compared with --max-failed, over several nights of one root."""

from dataclasses import replace

import pytest

from fer_core.collection.inventory import collect
from fer_core.commit.plan import read_plan, write_plan
from fer_core.commit.publish import publish, staged_receipts
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.planning.draft import draft
from fer_core.run.shard_job import ShardJob
from fer_core.storage.store import open_store
from flows.label_summary import as_json, as_text, max_failed_sentence
from tasks.artifacts.label import Summary
from tests.support import fakes


@pytest.fixture
def photos(tmp_path):
    folder = fakes.write_pictures(tmp_path / "photos", [1] * 8)
    (folder / "gone.png").symlink_to(tmp_path / "nothing")
    (folder / "lost.png").symlink_to(tmp_path / "nowhere")
    (folder / "again").symlink_to(folder)  # which is read anyway, and is no failure
    return folder


@pytest.fixture
def run(tmp_path, photos):
    return fakes.config(tmp_path / "labels", source=str(photos))


def night(run, number, force=False, **changes):
    """The summary of a night."""
    run = replace(run, run_id=f"night-{number}", started_us=run.started_us + number * 86_400_000_000, **changes)
    store = open_store(run.root)
    drawn = draft(store, replace(run, shard_size=4), collect(run.source).images, workers=1, force=force)
    write_plan(store, drawn)
    plan = read_plan(store, run.run_id)  # as a resumed run does
    for job in jobs(plan.config, plan.images, sorted(set(plan.images["shard"].to_pylist()))):
        label_shard(ShardJob.from_json(job.to_json()), fakes.tools())
    manifest = publish(store, plan.config, staged_receipts(store, run.run_id).values())
    return Summary(manifest, "", 0, 0.0, 0.0)


def test_a_quiet_night_fails_for_no_known_failure(run):
    first, quiet = night(run, 0), night(run, 1)
    assert first.quarantined_percent == 20
    assert first.manifest.failed_again == 0
    assert "20.0 % of the images were quarantined" in str(max_failed_sentence(first, 5))
    assert (quiet.manifest.listed, quiet.manifest.unchanged, quiet.images, quiet.manifest.failed_again) == (10, 8, 2, 2)
    assert (quiet.quarantined_percent, max_failed_sentence(quiet, 0)) == (0, None)
    assert as_json(quiet, 0)["failed_again"] == 2
    assert any(line.startswith("2 of them could not be processed in an earlier run either") for line in as_text(quiet, 0, ""))


def test_a_new_failure_is_a_share_of_the_listing(run, photos):
    night(run, 0)
    (photos / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    found = night(run, 1)
    assert (found.images, found.manifest.failed_again) == (3, 2)
    assert found.quarantined_percent == pytest.approx(100 / 11)
    assert max_failed_sentence(found, 10) is None
    assert "9.1 %" in str(max_failed_sentence(found, 9))


def test_what_was_labelled_and_fails_now_is_a_new_failure(run, photos):
    night(run, 0)
    for file in sorted(photos.glob("image-*.png"))[:4]:
        file.write_bytes(b"\x89PNG\r\n\x1a\ncut")
    found = night(run, 1)
    assert (found.quarantined_percent, found.manifest.failed_again) == (40, 2)
    assert night(run, 2).quarantined_percent == 0


def test_a_failure_that_was_mended_and_comes_back_is_new(run, photos, tmp_path):
    night(run, 0)
    (tmp_path / "nothing").write_bytes(fakes.picture(1))
    assert night(run, 1).manifest.failed_again == 1
    (tmp_path / "nothing").unlink()
    found = night(run, 2)
    assert (found.quarantined_percent, found.manifest.failed_again) == (10, 1)


@pytest.mark.parametrize("changes", [{"force": True}, {"min_face_px": 31.0}], ids=["force", "another pipeline"])
def test_known_failures_stay_known_where_everything_is_read_again(run, changes):
    night(run, 0)
    found = night(run, 1, **changes)
    assert (found.images, found.manifest.failed_again, found.quarantined_percent) == (10, 2, 0)
