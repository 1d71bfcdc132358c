"""Who is to blame for a worker's failure, as pure decisions: every image ends once, whatever it does, and the dead are counted."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ClusterError
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ImageRef, ShardJob
from tasks.execution.failure_budget import FAILURE_BUDGET, FailureCount
from tasks.execution.poison_isolation import (
    FAILURES_TO_QUARANTINE,
    FailureCause,
    WorkerFailure,
    bisect,
    isolate,
    next_jobs,
)

CONFIG = RunConfig("run-a", "2026-01-01", "photos", "/labels", "builtin", "builtin-1", "tiny", "tiny", "0" * 64)
LIMIT = 300.0


def job(count: int) -> ShardJob:
    return ShardJob(CONFIG, PartName(3), tuple(ImageRef(f"/photos/{number:04d}.jpg", 1, None, 0) for number in range(count)))


def receipt(done: ShardJob) -> ShardReceipt:
    return ShardReceipt(done.part, (), {"crashed" if done.crashed else "labeled": len(done.images)}, {}, 0, {})


def uris(pieces) -> list[str]:
    return [image.uri for piece in pieces for image in piece.images]


@given(st.integers(1, 300), st.data())
@settings(deadline=None, max_examples=60)
def test_what_is_isolated_stands_alone_and_nothing_is_lost(count, data):
    whole = job(count)
    number = data.draw(st.integers(0, count - 1))
    pieces = isolate(whole, whole.images[number].uri)
    assert uris(pieces) == uris([whole])
    (alone,) = [piece for piece in pieces if whole.images[number] in piece.images]
    assert len(alone.images) == 1
    assert len(pieces) <= math.ceil(math.log2(count)) + 1
    # named as bisection alone would name them, so that two attempts at a run agree what a part holds
    by_part = {whole.part: whole}
    for piece in sorted(pieces, key=lambda piece: len(piece.part.pieces)):
        while piece.part not in by_part:
            by_part |= {half.part: half for parent in list(by_part.values()) for half in bisect(parent)}
        assert by_part[piece.part] == piece


def test_a_stranger_isolates_nothing():
    assert isolate(job(9), "/elsewhere.jpg") == (job(9),)
    assert isolate(job(1), "/photos/0000.jpg") == (job(1),)


class Doomed:
    """A cluster of one in which some images kill their worker and others hang."""

    def __init__(self, deadly: set[str], hanging: set[str], tells: bool) -> None:
        self.deadly, self.hanging, self.tells = deadly, hanging, tells
        self.deaths = 0
        self.ends: list[ShardJob] = []

    def death(self, job: ShardJob) -> WorkerFailure | None:
        """The first bad image of the job decides."""
        for image in job.images if not job.crashed else ():
            if image.uri in self.deadly:
                return WorkerFailure(FailureCause.DIED)
            if image.uri in self.hanging:
                return WorkerFailure(FailureCause.STUCK, image=image.uri) if self.tells else WorkerFailure(FailureCause.FROZEN)
        return None

    def run_shards(self, whole: ShardJob) -> None:
        waiting = [(whole, 0)]
        while waiting:
            current, deaths = waiting.pop()
            death = self.death(current)
            if death is None:
                self.ends.append(current)
                continue
            self.deaths += 1
            following = next_jobs(current, death, deaths + 1, LIMIT)
            waiting += [(piece, deaths + 1 if len(following) == 1 else 0) for piece in reversed(following)]


@given(st.integers(1, 130), st.data(), st.booleans())
@settings(deadline=None, max_examples=100)
def test_each_image_ends_once_and_only_the_bad_ones_are_given_up(count, data, tells):
    whole = job(count)
    bad = data.draw(st.dictionaries(st.sampled_from(uris([whole])), st.booleans(), max_size=6))
    cluster = Doomed({uri for uri, dies in bad.items() if dies}, {uri for uri, dies in bad.items() if not dies}, tells)
    cluster.run_shards(whole)
    assert uris(cluster.ends) == uris([whole])
    assert len({end.part for end in cluster.ends}) == len(cluster.ends)
    given_up = [end for end in cluster.ends if end.crashed]
    assert sorted(uris(given_up)) == sorted(bad)
    for end in given_up:
        hung = not bad[end.images[0].uri]
        assert ("took longer than 300 s" in end.reason) == (hung and tells)
    levels = math.ceil(math.log2(count))
    assert cluster.deaths <= len(bad) * (levels + FAILURES_TO_QUARANTINE)


@given(st.integers(2, 1000), st.data())
@settings(deadline=None, max_examples=40)
def test_one_that_hangs_costs_three_limits_however_large_its_shard(count, data):
    whole = job(count)
    cluster = Doomed(set(), {data.draw(st.sampled_from(uris([whole])))}, tells=True)
    cluster.run_shards(whole)
    assert cluster.deaths == 1 + FAILURES_TO_QUARANTINE


def test_nothing_but_bad_images_are_all_found_or_the_run_ends():
    whole = job(16)
    cluster = Doomed(set(uris([whole])), set(), tells=True)
    cluster.run_shards(whole)
    assert all(end.crashed for end in cluster.ends)
    assert cluster.deaths == 15 + 16 * FAILURES_TO_QUARANTINE
    assert cluster.deaths <= FailureCount().max_unknown(1)  # a small collection is worked off
    assert FailureCount().max_unknown(1) < 1000  # and one of nothing but poison is not


@given(st.integers(0, 10**7), st.integers(0, 10**4))
@settings(deadline=None, max_examples=60)
def test_deaths_are_bounded_and_success_buys_more(labelled, workers):
    allowed = FailureCount(labelled=labelled).max_unknown(workers)
    assert allowed <= 50 + 3 * workers + labelled / 5
    assert FailureCount(labelled=labelled + 5).max_unknown(workers) == allowed + 1
    assert allowed >= 3 * workers  # a whole cluster may go, and come back


def test_a_single_image_is_given_up_after_its_second_death_and_then_not_looked_at():
    single, death = job(1), WorkerFailure(FailureCause.MEMORY)
    assert next_jobs(single, death, 1, LIMIT) == (single,)
    (last,) = next_jobs(single, death, FAILURES_TO_QUARANTINE, LIMIT)
    assert (last.crashed, last.part) == (True, single.part)
    assert "memory" in last.reason
    with pytest.raises(ClusterError, match="before they process"):
        next_jobs(last, death, 1, LIMIT)


@pytest.mark.parametrize("count", [1, 8])
def test_images_are_not_blamed_for_what_hangs_beside_them(count):
    death = WorkerFailure(FailureCause.STUCK)
    assert next_jobs(job(count), death, 1, LIMIT) == (job(count),)
    with pytest.raises(ClusterError, match=r"hang before they process any image \(for longer than 300 s\)"):
        next_jobs(job(count), death, 2, LIMIT)


def settled(shards: list[ShardJob], bad: set[str]) -> int:
    """`fan_out` over shards whose bad images kill, told as workers tell it when a job is alone. Returns the images labelled."""
    count = FailureCount()
    waiting, suspects = list(shards), list[ShardJob]()
    while waiting or suspects:
        while waiting and len(suspects) < count.max_suspects(2):
            shard = waiting.pop(0)
            if bad.isdisjoint(uris([shard])):
                count.add_receipt(shard, receipt(shard))
                continue
            count.add(named=False)
            assert not count.exceeds_budget(2), count
            suspects.append(shard)
        alone = [(suspect, 0) for suspect in reversed(suspects)]
        suspects.clear()
        while alone:
            current, deaths = alone.pop()
            first = next((image.uri for image in current.images if image.uri in bad), None)
            if current.crashed or first is None:
                count.add_receipt(current, receipt(current))
                continue
            count.add(named=True)
            assert not count.exceeds_budget(2), count
            following = next_jobs(current, WorkerFailure(FailureCause.DIED, image=first), deaths + 1, LIMIT)
            alone += [(piece, deaths + 1 if len(following) == 1 else 0) for piece in reversed(following)]
    return count.labelled


@given(st.integers(60, 300), st.integers(1, 40), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_any_number_of_bombs_among_good_images_ends_as_rows(bombs, shard, random):
    """The first shard is a good one; where the others are is not said."""
    names = [True] * bombs + [False] * random.randint(shard, 2 * bombs)
    random.shuffle(names)
    names = [False] * shard + names
    images = [ImageRef(f"/photos/{number:05d}{'-bomb' * dies}.jpg", 1, None, 0) for number, dies in enumerate(names)]
    shards = [ShardJob(CONFIG, PartName(at), tuple(images[at : at + shard])) for at in range(0, len(images), shard)]
    labelled = settled(shards, {image.uri for image in images if "bomb" in image.uri})
    assert labelled == names.count(False)


def test_sixty_bombs_may_come_before_the_first_good_image():
    images = [ImageRef(f"/photos/{number:05d}.jpg", 1, None, 0) for number in range(64)]
    shards = [ShardJob(CONFIG, PartName(0), tuple(images))]
    assert settled(shards, {image.uri for image in images[:60]}) == 4


def test_a_machine_on_which_everything_dies_ends_the_run():
    count = FailureCount()
    for _ in range(FAILURE_BUDGET.most_named):
        count.add(named=True)
        assert not count.exceeds_budget(2)
    count.add(named=True)
    assert count.exceeds_budget(2)
    count.add_receipt(job(1), receipt(job(1)))
    assert not count.exceeds_budget(2)  # known images never count against a run that labels others
    for _ in range(count.max_unknown(2) + 1):
        count.add(named=False)
    assert count.exceeds_budget(2)
    quarantined = replace(job(1), crashed=True)
    count.add_receipt(quarantined, receipt(quarantined))
    assert not count.exceeds_budget(2)
    assert count.labelled == 1
