"""Shards cut by time: bounds, and how evenly workers end that take them in their order."""

import heapq

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.pipeline.shard_jobs import shard_images
from fer_core.planning.cost_model import UNTOLD_BYTES, CostRate, ShardSizing, listed_sizes, shard_ends
from fer_core.planning.sharding import plan_shards
from fer_core.tables.schema import INVENTORY

SIZES = st.lists(st.none() | st.integers(0, 30_000_000), max_size=400)
CUTS = st.builds(
    ShardSizing, st.integers(1, 60), st.integers(1, 20), st.integers(20, 200), st.builds(CostRate, st.floats(1e-3, 1e3)), st.floats(0.5, 60)
)


def listing(sizes):
    names = [f"/photos/{number:06d}.jpg" for number in range(len(sizes))]
    columns = [names, pa.array(sizes, pa.int64()), pa.nulls(len(sizes), pa.string()), pa.nulls(len(sizes), pa.int64())]
    return pa.table(dict(zip(INVENTORY.names, columns, strict=True))).cast(INVENTORY)


def makespan(seconds, workers: int) -> float:
    """When the last of so many workers ends, each taking the next shard when it is free."""
    free_at = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free_at, free_at[0] + one)
    return max(free_at)


def sums(costs, ends):
    return np.add.reduceat(costs, np.r_[0, ends[:-1]]) if len(ends) else np.zeros(0)


@given(SIZES, CUTS)
@settings(deadline=None, max_examples=120)
def test_shards_are_whole_and_within_bounds(sizes, cut):
    costs = cut.rate.costs(listed_sizes(pa.chunked_array([pa.array(sizes, pa.int64())])))
    ends = shard_ends(costs, cut)
    counts = np.diff(ends, prepend=0)
    assert counts.sum() == len(sizes)
    assert (counts <= cut.largest).all()
    assert (counts[:-1] >= cut.smallest).all()
    seconds = sums(costs, ends)
    by_time = counts > cut.smallest  # else it is as short as it may be
    assert (seconds[by_time] <= max(cut.target, cut.floor(costs.sum())) * (1 + 1e-6)).all()


@given(SIZES, CUTS, st.randoms(use_true_random=False), st.floats(1.0, 2.0))
@settings(deadline=None, max_examples=120)
def test_workers_end_together_even_where_estimates_are_off_by_a_factor_of_two(sizes, cut, random, off):
    costs = cut.rate.costs(listed_sizes(pa.chunked_array([pa.array(sizes, pa.int64())])))
    ends = shard_ends(costs, cut)
    estimated = sums(costs, ends)
    truth = estimated * np.array([random.uniform(1.0, off) for _ in ends])
    # the least that a shard can be: the floor, or so many of the images that it holds
    heavy = np.sort(costs)[::-1][: cut.smallest].sum()
    granule = max(cut.floor(costs.sum()), heavy)
    assert makespan(truth, cut.workers) <= truth.sum() / cut.workers + off * granule + 1e-6


def test_the_even_end_is_what_shrinking_shards_bring():
    costs, cut = np.full(40_000, 0.03), ShardSizing(64, 8, 4000)
    shrinking = sums(costs, shard_ends(costs, cut))
    equal = np.full(len(costs) // 1000, 30.0)
    ideal = costs.sum() / cut.workers
    assert makespan(equal, cut.workers) > 1.5 * ideal  # 40 shards of half a minute for 64 workers
    assert makespan(shrinking, cut.workers) < 1.06 * ideal
    long = np.full(64 * 64_000, 0.03)
    cut_long = sums(long, shard_ends(long, cut))
    assert cut_long[0] == pytest.approx(30, rel=0.01)
    assert cut_long[-2] < 1.1
    assert len(cut_long) < 1.1 * len(long) / 1000 + 6 * cut.workers


def test_the_scheduler_of_many_workers_is_spared_short_shards():
    assert ShardSizing(2, 8, 4000).floor(1e6) == 1.0
    assert ShardSizing(1000, 8, 4000).floor(1e6) == 15.0
    assert ShardSizing(2, 8, 4000).floor(1.6) == pytest.approx(0.2)  # a small job is still shared


def test_a_plan_by_time_is_by_uri_and_depends_on_its_arguments_alone():
    sizes = [100_000 + 7919 * number % 5_000_000 if number % 5 else None for number in range(3000)]
    cut = ShardSizing(3, 8, 1000)
    inventory = listing(sizes)
    plan = plan_shards(inventory, cut)
    count = plan["shard"].to_pylist()[-1] + 1
    assert [ref.uri for shard in range(count) for ref in shard_images(plan, shard)] == inventory["image_uri"].to_pylist()
    mixed = inventory.take(np.random.default_rng(1).permutation(len(sizes)))
    assert plan_shards(mixed, cut).equals(plan)
    assert plan_shards(listing([]), cut).num_rows == 0


def test_sizes_that_are_not_told_are_taken_for_usual_ones():
    assert listed_sizes(pa.chunked_array([pa.array([5, None, 7, 900], pa.int64())])).tolist() == [5, 7, 7, 900]
    assert listed_sizes(pa.chunked_array([pa.array([None], pa.int64())])).tolist() == [UNTOLD_BYTES]


def test_a_rate_is_learned_or_the_usual_one():
    sizes = np.full(10, 150_000)
    assert CostRate.measured(6.0, 100, sizes).costs(sizes)[0] == pytest.approx(0.06)
    assert CostRate.measured(0.0, 100, sizes) == CostRate.measured(6.0, 0, sizes) == CostRate.measured(6.0, 1, sizes[:0]) == CostRate()
