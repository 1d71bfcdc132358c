"""What a run would do: its shards and its images, from an inventory and what earlier runs answered. Pure but for reading the ledger."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import pyarrow as pa

from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.planning.cost_model import CostRate, ShardSizing, listed_sizes
from fer_core.planning.incremental import Selection, load_processed_index, select_changed
from fer_core.planning.sharding import plan_shards
from fer_core.run import RunConfig
from fer_core.storage.store import Store

SHARDS_A_WORKER: Final = 4
"""So that the last shard to end does not keep one worker busy while the others wait."""
SMALLEST_SHARD: Final = 8
"""A shard costs about 30 ms beside its images."""
LARGEST_SHARD: Final = 4000
"""However fast images are. A worker keeps what it found in a shard until it is written, 1 KB a face."""
LARGEST_WITH_CROPS: Final = 1000
"""Where it keeps the crops as well, 20 KB a face."""
RUNS_ASKED: Final = 3
"""Newest runs by name whose speed is looked for; each costs a request."""
IMAGES_TO_TELL: Final = 100
"""That a run must have looked at for its speed to say anything."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A run before it is made known."""

    config: RunConfig
    images: pa.Table
    """`schema.PLAN`."""
    listed: int
    unchanged: int
    deleted: int
    excluded: int = 0


def shard_size_for(images: int, workers: int) -> int:
    """Images a shard where nothing but their number is known: a few shards a worker, within bounds."""
    return max(SMALLEST_SHARD, min(LARGEST_WITH_CROPS, math.ceil(images / (SHARDS_A_WORKER * max(workers, 1)))))


def draft(store: Store, config: RunConfig, inventory: pa.Table, *, workers: int, force: bool, left_out: Sequence[str] = ()) -> Draft:
    """Decide what to read. inventory: `schema.INVENTORY`. force: read everything. left_out: see `collection.Collection`.

    A shard size of 0 in the configuration leaves it to the images' expected cost: shards of half a minute, shorter ones towards the end;
    the configuration then tells how many images the largest has.
    """
    known = load_processed_index(store, config.source, config.pipeline_digest)
    selection = select_changed(inventory, known, left_out)
    if force:
        selection = Selection(inventory, 0, selection.deleted)
    size = config.shard_size or _cut(store, config, known, workers)
    images = plan_shards(selection.new, size)
    if isinstance(size, ShardSizing):
        size = int(np.bincount(images["shard"].to_numpy()).max()) if images.num_rows else size.smallest
    counts = (inventory.num_rows, selection.unchanged, selection.deleted, len(left_out))
    return Draft(replace(config, shard_size=size), images, *counts)


def _cut(store: Store, config: RunConfig, known: pa.Table, workers: int) -> ShardSizing:
    largest = LARGEST_WITH_CROPS if config.keep_crops else LARGEST_SHARD
    return ShardSizing(max(workers, 1), SMALLEST_SHARD, largest, measured_rate(store, config.pipeline_digest, known))


def measured_rate(store: Store, pipeline_digest: str, known: pa.Table) -> CostRate:
    """What images cost in the newest run here that looked at enough of them with this pipeline; where there is none, the usual.

    known: `incremental.KNOWN`, which tells how large images are here. Stages of a shard overlap, so that their sum is rather too much.
    """
    for run_id in committed_runs(store)[: -RUNS_ASKED - 1 : -1] if known.num_rows else ():
        manifest = read_manifest(store, run_id)
        looked_at = sum(manifest.statuses.values()) - manifest.reused
        if manifest.pipeline_digest == pipeline_digest and looked_at >= IMAGES_TO_TELL:
            busy = sum(seconds for stage, seconds in manifest.seconds.items() if stage != "load")
            return CostRate.measured(busy, looked_at, listed_sizes(known["bytes"]))
    return CostRate()
