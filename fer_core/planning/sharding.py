"""The images of a run -> numbered shards. Pure functions."""

import numpy as np
import pyarrow as pa

from fer_core.commit.publish import as_plan
from fer_core.planning.cost_model import ShardSizing, listed_sizes, shard_ends
from fer_core.storage.spill import sort_by_uri


def plan_shards(inventory: pa.Table, shard_size: int | ShardSizing) -> pa.Table:
    """Number the images, `schema.PLAN`, by URI, from shard 0. A function of its arguments alone.

    inventory: `schema.CANDIDATES`, or `schema.INVENTORY` where no earlier result is to be reused. shard_size: images a shard, or a
    `ShardSizing` by the expected cost of images.
    """
    if not isinstance(shard_size, ShardSizing) and shard_size < 1:
        raise ValueError(f"a shard holds at least one image, not {shard_size}")
    images = sort_by_uri(inventory)
    if isinstance(shard_size, ShardSizing):
        ends = shard_ends(shard_size.rate.costs(listed_sizes(images["bytes"])), shard_size)
        shards = np.repeat(np.arange(len(ends), dtype=np.int32), np.diff(ends, prepend=0))
    else:
        shards = (np.arange(images.num_rows) // shard_size).astype(np.int32)
    return as_plan(images.append_column("shard", pa.array(shards, pa.int32())))
