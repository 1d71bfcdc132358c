"""What a run would do: its shard size and its images, from an inventory and what earlier runs answered. Pure but for reading the ledger."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa

from fer_core.collection import plan_shards, shard_images
from fer_core.layout import part_name
from fer_core.ledger import Selection, known_images, select_new
from fer_core.run import RunConfig, ShardJob
from fer_core.store import Store

SHARDS_A_WORKER: Final = 4
"""So that the last shard to end does not keep one worker busy while the others wait."""
SMALLEST_SHARD: Final = 8
"""A shard costs about 30 ms beside its images."""
LARGEST_SHARD: Final = 1000


@dataclass(frozen=True, slots=True)
class Draft:
    """A run before it is made known."""

    config: RunConfig
    images: pa.Table
    """`schema.PLAN`."""
    listed: int
    unchanged: int
    deleted: int


def shard_size_for(images: int, workers: int) -> int:
    """Images a shard when nobody said: a few shards a worker, within bounds."""
    return max(SMALLEST_SHARD, min(LARGEST_SHARD, math.ceil(images / (SHARDS_A_WORKER * max(workers, 1)))))


def draft(store: Store, config: RunConfig, inventory: pa.Table, *, workers: int, force: bool) -> Draft:
    """Decide what to read. inventory: `schema.INVENTORY`. A shard size of 0 in the configuration is chosen here. force: read everything."""
    known = known_images(store, config.source, config.pipeline_digest)
    selection = select_new(inventory, known)
    if force:
        selection = Selection(inventory, 0, selection.deleted)
    size = config.shard_size or shard_size_for(selection.new.num_rows, workers)
    images = plan_shards(selection.new, size)
    return Draft(replace(config, shard_size=size), images, inventory.num_rows, selection.unchanged, selection.deleted)


def jobs(config: RunConfig, images: pa.Table, shards: list[int]) -> Iterator[ShardJob]:
    """The jobs of some shards of a plan, made one at a time."""
    for shard in shards:
        yield ShardJob(config, part_name(shard), shard_images(images, shard))
