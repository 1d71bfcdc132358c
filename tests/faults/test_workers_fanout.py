"""Faults of workers, with real Dask workers that are killed, hang, are frozen or eat up their memory under a stand-in for labelling."""

import asyncio

import pytest

from fer_core.errors import ClusterError
from fer_core.run.part_name import PartName
from tasks.execution.failure_budget import FailureBudget
from tasks.execution.fan_out import fan_out
from tasks.execution.poison_isolation import FAILURES_TO_QUARANTINE, PASSED_OVER
from tests.faults import odd_pictures
from tests.faults.odd_pictures import DEADLY, FROZEN_ONCE, GATE, HANGING, HUNGRY, KILLED_ONCE
from tests.support.quick_workers import quick_workers

MEMORY = 700 * 2**20
"""Bytes a worker may use; one that has loaded nothing but Dask uses a fifth of it."""
LIMIT = 2.0
"""Seconds an image may take; stand-ins take none."""


@pytest.fixture(scope="module")
def client():
    """Two workers that are given up after some seconds of silence."""
    with quick_workers(2, frozen_seconds=10, memory=MEMORY) as early:  # those that are not let run for a while are not frozen
        yield early.client()


def run(client, root, *shards, **options):
    receipts = fan_out(client, odd_pictures.jobs(root, *shards), lambda _: None, work=odd_pictures.look, limit=LIMIT, **options)
    return odd_pictures.rows(root, receipts)


def test_images_that_end_their_workers_cost_a_row_each(client, tmp_path):
    quiet = [[f"a{number}", f"b{number}"] for number in range(4)]
    rows = run(client, tmp_path, *quiet, ["a", f"{DEADLY}.1", "b", f"{DEADLY}.2"], [DEADLY], ["a", HANGING, "b"], [HUNGRY])
    given_up = {uri: said.removeprefix("crashed: ") for uri, said in rows.items() if said.startswith("crashed")}
    assert sorted(given_up) == ["/04/deadly.1", "/04/deadly.2", "/05/deadly", "/06/hanging", "/07/hungry"]
    assert all(given_up[uri].startswith("the worker died each time it processed this image") for uri in sorted(given_up)[:3])
    assert given_up["/06/hanging"] == "processing this image took longer than 2 s, each time"
    assert given_up["/07/hungry"] == "processing this image took more memory than a worker may use, each time"
    assert [rows[uri] for uri in rows.keys() - given_up.keys()] == ["labeled"] * 12
    looks = odd_pictures.looks(tmp_path)
    assert looks.count("/06/hanging") == 1 + FAILURES_TO_QUARANTINE  # the worker told which one it was


def test_images_that_are_known_never_end_a_run(client, tmp_path):
    """Each of seven shards kills a worker at an unknown image, then three at a known one. Six failures are allowed, as many as jobs may be
    in flight while a worker and the one in its place are both counted: those that an image has explained count no more.
    """
    six = FailureBudget(least=6, per_worker=0, images_per_failure=1000)
    bombs = [[f"a{number}", f"{DEADLY}.{number}"] for number in range(7)]
    rows = run(client, tmp_path, ["first"], *bombs, ["last"], budget=six)
    given_up = sorted(uri for uri, said in rows.items() if said.startswith("crashed"))
    assert given_up == [f"/0{number + 1}/deadly.{number}" for number in range(7)]
    assert list(rows.values()).count("labeled") == 9
    looks = odd_pictures.looks(tmp_path)
    fewest = 2 + FAILURES_TO_QUARANTINE  # beside others, then with its shard by a worker that tells, then by itself
    for number in range(7):  # at each step, a worker that is killed before it has reported the begin of its job costs one more
        assert fewest <= looks.count(f"/0{number + 1}/{DEADLY}.{number}") <= fewest * (1 + PASSED_OVER)


def test_why_a_worker_was_ended_may_be_told_after_its_end(client, tmp_path, monkeypatch):
    from distributed import Nanny

    tell = Nanny._log_event

    async def tell_late(nanny, topic, msg):
        await asyncio.sleep(1)
        await tell(nanny, topic, msg)

    monkeypatch.setattr(Nanny, "_log_event", tell_late)  # the nannies are in this process
    rows = run(client, tmp_path, ["a"], [HUNGRY])
    assert rows["/01/hungry"] == "crashed: processing this image took more memory than a worker may use, each time"


def test_a_worker_that_is_killed_or_frozen_once_costs_nothing(client, tmp_path):
    rows = run(client, tmp_path, ["a", KILLED_ONCE, "b"], ["c", FROZEN_ONCE], ["d"], ["e"])
    assert len(rows) == 7
    assert set(rows.values()) == {"labeled"}
    assert odd_pictures.looks(tmp_path).count("/01/frozen-once") == 2


def test_who_only_waited_at_a_dead_worker_is_no_suspect(client, tmp_path):
    receipts = []

    def on_receipt(receipt):
        receipts.append(receipt.part)
        (tmp_path / "open").touch()  # the others have ended; those behind the gate wait there

    shards = [[GATE], *([f"{number}"] for number in range(5))]
    fan_out(client, odd_pictures.jobs(tmp_path, *shards), on_receipt, work=odd_pictures.look, limit=3600)
    assert sorted(receipts) == [PartName(number) for number in range(6)]
    assert receipts[-1] == PartName(0)  # the only one that was tried alone, after all the others
    assert odd_pictures.looks(tmp_path).count("/00/gate") == 1 + FAILURES_TO_QUARANTINE


def test_where_everything_dies_the_run_ends_after_a_bounded_number_of_workers(client, tmp_path):
    with pytest.raises(ClusterError, match=r"\d workers died while 0 images were labelled: .* \(the last failure was at /0"):
        run(client, tmp_path, *([f"{DEADLY}.{number}" for number in range(4)] for _ in range(3)), budget=FailureBudget(most_named=3))
    assert len(odd_pictures.looks(tmp_path)) <= 7 + 2  # of two workers, the other may be on its way
