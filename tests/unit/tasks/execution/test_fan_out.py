import json
import logging
import os
import time
from pathlib import Path

import pytest
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ClusterError, ModelError, StoreError
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ImageRef, ShardJob
from tasks.execution.fan_out import fan_out
from tasks.execution.poison_isolation import bisect
from tests.support.quick_workers import quick_workers

CONFIG = RunConfig("run-a", "2026-01-01", "photos", "/labels", "builtin", "builtin-1", "tiny", "tiny", "0" * 64)


THIRD = PartName(3)


def job(count: int, part: PartName = THIRD, *, poison: str = "") -> ShardJob:
    names = [f"/photos/{number:04d}{poison if number == 5 else ''}.jpg" for number in range(count)]
    return ShardJob(CONFIG, part, tuple(ImageRef(name, 1, None, 0) for name in names))


def receipt(done: ShardJob) -> str:
    status = "crashed" if done.crashed else "labeled"
    value = ShardReceipt(done.part, (), {status: len(done.images)}, {}, 0, {"read": float(os.getpid())})
    return json.dumps({"receipt": value.to_json()})


def deadly(text: str) -> str:
    """Dies of any picture named poison, as a decoder may."""
    given_job = ShardJob.from_json(json.loads(text))
    if not given_job.crashed and any("poison" in image.uri for image in given_job.images):
        os._exit(1)
    return receipt(given_job)


def hateful(_: str) -> str:
    """Dies of everything."""
    os._exit(1)


def moody(text: str) -> str:
    """Fails as a storage does that is out for a moment, then works."""
    given_job = ShardJob.from_json(json.loads(text))
    counter = Path(given_job.images[0].uri)
    tries = len(counter.read_text()) if counter.exists() else 0
    counter.write_text("x" * (tries + 1))
    if tries < 1:
        return json.dumps({"error": "OutageError", "message": "the store is tired"})
    return receipt(given_job)


def full(text: str) -> str:
    """Fails as a full disk does, and keeps count."""
    with Path(ShardJob.from_json(json.loads(text)).images[0].uri).open("a") as counter:
        counter.write("x")
    return json.dumps({"error": "StoreError", "message": "no space left on device"})


def misplaced(_: str) -> str:
    return json.dumps({"error": "ModelError", "message": "not that model"})


@given(st.integers(1, 300))
@settings(deadline=None, max_examples=60)
def test_bisection_ends_in_single_images_each_once_under_its_own_name(count):
    whole = job(count)
    waiting, leaves = [whole], []
    while waiting:
        current = waiting.pop()
        halves = bisect(current)
        if not halves:
            leaves.append(current)
            continue
        assert tuple(image for half in halves for image in half.images) == current.images
        assert all(current.part in half.part.ancestors for half in halves)
        waiting.extend(halves)
    assert all(len(leaf.images) == 1 for leaf in leaves)
    assert sorted(leaf.images[0].uri for leaf in leaves) == sorted(image.uri for image in whole.images)
    assert len({leaf.part for leaf in leaves}) == count


def test_bisection_depends_on_the_job_alone():
    assert bisect(job(9)) == bisect(job(9))
    assert [half.part for half in bisect(job(9))] == [PartName(3, ("0",)), PartName(3, ("1",))]


@pytest.fixture(scope="module")
def client():
    with quick_workers(2, __name__) as cluster:
        yield cluster.client()


def test_the_poison_is_found_among_the_innocent(client):
    jobs = [job(4, PartName(number)) for number in range(6)] + [job(8, PartName(6), poison="poison")]
    told: list[ShardReceipt] = []
    receipts = fan_out(client, jobs, told.append, work=deadly)
    assert told == receipts
    counts = {status: sum(one.statuses.get(status, 0) for one in receipts) for status in ("labeled", "crashed")}
    assert counts == {"labeled": 6 * 4 + 7, "crashed": 1}
    assert len({one.part for one in receipts}) == len(receipts)
    assert [str(one.part) for one in receipts if "crashed" in one.statuses] == ["part-00006-1-0-1"]


def test_workers_that_die_of_everything_are_a_cluster_error(client):
    with pytest.raises(ClusterError, match="before they process any image"):
        fan_out(client, [job(1)], lambda _: None, work=hateful)


def test_both_workers_work_and_nothing_stays_on_the_scheduler(client):
    client.wait_for_workers(2, timeout=280)
    receipts = fan_out(client, (job(2, PartName(number)) for number in range(40)), lambda _: None, work=deadly)
    assert len(receipts) == 40
    deadline = time.monotonic() + 120
    while client.run_on_scheduler(lambda dask_scheduler: [key for key in dask_scheduler.tasks if key.startswith("run-a")]):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_outage_is_tried_again_other_errors_are_not(client, tmp_path):
    tired = ShardJob(CONFIG, PartName(0), (ImageRef(str(tmp_path / "tries"), 1, None, 0),))
    assert len(fan_out(client, [tired], lambda _: None, work=moody)) == 1
    (tmp_path / "tries").unlink()
    always = ShardJob(CONFIG, PartName(1), (ImageRef(str(tmp_path / "none" / "tries"), 1, None, 0),))
    with pytest.raises(FileNotFoundError):  # a bug in the work is raised as it is
        fan_out(client, [always], lambda _: None, work=moody)
    with pytest.raises(StoreError, match="no space left"):
        fan_out(client, [tired], lambda _: None, work=full)
    assert (tmp_path / "tries").read_text() == "x"
    with pytest.raises(ModelError, match="not that model"):
        fan_out(client, [job(1)], lambda _: None, work=misplaced)
    assert not issubclass(ModelError, StoreError)


def test_a_scheduler_without_workers_is_given_up():
    none = {"processes": False, "dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}
    with (
        LocalCluster(n_workers=0, silence_logs=logging.CRITICAL, **none) as cluster,
        Client(cluster) as lonely,
        pytest.raises(ClusterError, match="no Dask worker is left"),
    ):
        fan_out(lonely, [job(1)], lambda _: None, work=deadly, patience=1.5)
