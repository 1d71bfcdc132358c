"""The images of a run -> numbered shards. Pure functions."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.publish import as_plan
from fer_core.planning.cost_model import ShardSizing, listed_sizes, shard_ends
from fer_core.storage.spill import sort_by_uri, spill_tables

SMALLEST_COPY: Final = 512
"""Bytes of a file from which on its copies are looked for: smaller ones are of one size by chance."""
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
    """Images behind the first one by URI with the same size and entity tag, without a tag the same size and file name. They may differ all
    the same: what a file holds is known when it is read."""
    names = pc.replace_substring_regex(images["image_uri"], "(?s)^.*/", "")
    sizes = images["bytes"].cast(pa.string())
    keys = pc.binary_join_element_wise(sizes, pc.coalesce(images["etag"], names), "/")
    keys = pc.if_else(pc.fill_null(pc.greater_equal(images["bytes"], SMALLEST_COPY), False), keys, images["image_uri"])
    codes = keys.combine_chunks().dictionary_encode().indices.to_numpy()  # numbered as they come first
    if not len(codes) or codes.max() + 1 == len(codes):
        return images
    firsts = np.zeros(codes.max() + 1, np.int64)
    firsts[codes[::-1]] = np.arange(len(codes))[::-1]
    order = np.argsort(firsts[codes], kind="stable")
    pieces = (images.take(order[start : start + _ROWS_AT_ONCE]) for start in range(0, len(order), _ROWS_AT_ONCE))
    return spill_tables(pieces, images.schema)
