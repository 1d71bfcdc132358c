import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.pipeline.shard_jobs import shard_images
from fer_core.planning.sharding import plan_shards
from fer_core.run.shard_job import ImageRef
from fer_core.tables.schema import INVENTORY, PLAN


def inventory_of(names):
    return pa.table(
        {
            "image_uri": pa.array(names, pa.string()),
            "bytes": pa.array([None if len(name) % 3 == 0 else len(name) for name in names], pa.int64()),
            "etag": pa.array([name[:1] or None for name in names], pa.string()),
            "modified_at": pa.array([len(name) * 10**15 for name in names], INVENTORY.field("modified_at").type),
        },
        schema=INVENTORY,
    )


@settings(deadline=None, max_examples=200)
@given(
    st.sets(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), max_size=60),
    st.integers(1, 70),
    st.randoms(use_true_random=False),
)
def test_shards_partition_the_inventory_whatever_its_order(names, shard_size, shuffled: random.Random):
    names = sorted(names)
    plan = plan_shards(inventory_of(names), shard_size)
    assert plan.schema == PLAN
    count = -(-len(names) // shard_size)
    shards = [shard_images(plan, shard) for shard in range(count)]
    assert [ref.uri for shard in shards for ref in shard] == names
    assert all(len(shard) == shard_size for shard in shards[:-1])
    assert all(0 < len(shard) <= shard_size for shard in shards)
    assert shard_images(plan, count) == ()
    mixed = list(names)
    shuffled.shuffle(mixed)
    assert plan_shards(inventory_of(mixed), shard_size).equals(plan)


def test_image_refs_carry_what_was_listed():
    plan = plan_shards(inventory_of(["abcd", "abc"]), 5)
    assert shard_images(plan, 0) == (ImageRef("abc", None, "a", 3 * 10**15), ImageRef("abcd", 4, "a", 4 * 10**15))


@pytest.mark.parametrize("size", [0, -1])
def test_a_shard_holds_something(size):
    with pytest.raises(ValueError, match="at least one"):
        plan_shards(inventory_of(["a"]), size)


def listed(*rows):
    """uri, bytes, etag"""
    values = [{"image_uri": uri, "bytes": size, "etag": etag, "modified_at": None} for uri, size, etag in rows]
    return pa.Table.from_pylist(values, INVENTORY)


def test_copies_by_their_listing_are_in_the_shard_of_their_original():
    table = listed(
        ("/backup/a.jpg", 5000, None),
        ("/backup/b.jpg", 5001, None),
        ("/backup/tiny.jpg", 10, None),
        ("/photos/a.jpg", 5000, None),
        ("/photos/b.jpg", 5002, None),
        ("/photos/c.jpg", 5000, None),
        ("/photos/tiny.jpg", 10, None),
        ("s3://b/one.jpg", 7000, "tag"),
        ("s3://b/three.jpg", 7000, "other"),
        ("s3://b/two.jpg", 7000, "tag"),
    )
    plan = plan_shards(table, 2)
    shards = [[ref.uri for ref in shard_images(plan, shard)] for shard in range(5)]
    assert shards == [
        ["/backup/a.jpg", "/photos/a.jpg"],
        ["/backup/b.jpg", "/backup/tiny.jpg"],
        ["/photos/b.jpg", "/photos/c.jpg"],
        ["/photos/tiny.jpg", "s3://b/one.jpg"],
        ["s3://b/two.jpg", "s3://b/three.jpg"],
    ]
    assert plan_shards(table.take([9, 3, 0, 8, 1, 2, 7, 6, 5, 4]), 2).equals(plan)
