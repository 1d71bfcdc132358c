"""The images of a run -> numbered shards. Pure functions."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.plan import as_plan
from fer_core.planning.copies import listing_keys
from fer_core.planning.cost_model import ShardSizing, listed_sizes, shard_ends
from fer_core.storage.spill import sort_by_uri, spill_tables

_ROWS_AT_ONCE: Final = 2**16


def plan_shards(inventory: pa.Table, shard_size: int | ShardSizing) -> pa.Table:
    """Number the images, `schema.PLAN`, by URI, from shard 0. A function of its arguments alone.

    Images that the listing takes for copies of one another follow each other: a shard processes identical content once.

    inventory: `schema.CANDIDATES`, or `schema.INVENTORY` where no earlier result is to be reused. shard_size: images a shard, or a
    `ShardSizing` by the expected cost of images.
    """
    if not isinstance(shard_size, ShardSizing) and shard_size < 1:
        raise ValueError(f"a shard holds at least one image, not {shard_size}")
    images = _copies_together(sort_by_uri(inventory))
    if isinstance(shard_size, ShardSizing):
        ends = shard_ends(shard_size.rate.costs(listed_sizes(images["bytes"])), shard_size)
        shards = np.repeat(np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0))
    else:
        shards = (np.arange(images.num_rows) // shard_size).astype(np.int32)
    return as_plan(images.append_column("shard", pa.array(shards, pa.int32())))


def _copies_together(images: pa.Table) -> pa.Table:
    """Each image behind the first one of the same `listing_keys`."""
    keys = listing_keys(images)
    keys = pc.if_else(pc.is_valid(keys), keys, images["image_uri"])
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()  # numbered as they come first
    if not len(codes) or codes.max() + 1 == len(codes):
        return images
    firsts = np.zeros(codes.max() + 1, np.int64)
    firsts[codes[::-1]] = np.arange(len(codes))[::-1]
    order = np.argsort(firsts[codes], kind="stable")
    pieces = (images.take(order[start : start + _ROWS_AT_ONCE]) for start in range(0, len(order), _ROWS_AT_ONCE))
    return spill_tables(pieces, images.schema)
