"""Draft of a run: its shards and its images, from an inventory and the results of earlier runs. Pure but for reading those."""

import math
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.collection.inventory import Collection
from fer_core.commit.deny_list import DenyList, read_deny_list
from fer_core.commit.expired_list import ExpiredList, read_expired_list
from fer_core.commit.plan import Plan
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.planning.cost_model import CostRate, ShardSizing, listed_sizes
from fer_core.planning.incremental import load_processed_index, select_changed
from fer_core.planning.sharding import plan_shards
from fer_core.run.configuration import RunConfig
from fer_core.storage.spill import ROW_LIMITS, spill_tables
from fer_core.storage.store import Store

SHARDS_A_WORKER: Final = 4
"""So that the last shard to end does not keep one worker busy while the others wait."""
SMALLEST_SHARD: Final = 8
"""A shard costs about 30 ms beside its images."""
LARGEST_SHARD: Final = 4000
"""However fast images are. A worker holds the rows of a shard until they are written, 1 KB a face."""
LARGEST_WITH_CROPS: Final = 1000
"""Where it holds the crops as well, 20 KB a face."""
RUNS_ASKED: Final = 3
"""Newest runs by name whose speed is read; each costs a request."""
IMAGES_TO_TELL: Final = 100
"""Processed images from which on the speed of a run counts."""


def shard_size_for(images: int, workers: int) -> int:
    """Images a shard where nothing but their number is known: a few shards a worker, within bounds."""
    return max(SMALLEST_SHARD, min(LARGEST_WITH_CROPS, math.ceil(images / (SHARDS_A_WORKER * max(workers, 1)))))


def draft(store: Store, config: RunConfig, inventory: pa.Table | Collection, *, workers: int, force: bool) -> Plan:
    """Decide what to read. inventory: `schema.INVENTORY`, or what was listed and left out. force: read everything.

    With a shard size of 0 in the configuration, shards are cut by the expected cost of images: half a minute, shorter towards the end. The
    configuration then has the number of images of the largest one. Images whose address is denied, and those whose rows were removed for
    their age and that have not changed since, are not listed.
    """
    listed = inventory if isinstance(inventory, Collection) else Collection(inventory)
    undenied = _undenied(listed.images, read_deny_list(store))
    allowed = _unexpired(undenied, read_expired_list(store))
    known = load_processed_index(store, config.source, config.pipeline_digest, decoding=config.decoding)
    unlisted = (*listed.left_out, *listed.names.folders)
    selection = select_changed(allowed, known, unlisted, force=force, is_unlisted=listed.names.leaves_out)
    size = config.shard_size or _cut(store, config, known, workers)
    images = plan_shards(selection.new, size)
    if isinstance(size, ShardSizing):
        size = int(np.bincount(images["shard"].to_numpy()).max()) if images.num_rows else size.smallest
    left_out = len(listed.left_out) + listed.names.excluded
    removed = (listed.images.num_rows - undenied.num_rows, undenied.num_rows - allowed.num_rows)
    counts = (allowed.num_rows, selection.unchanged, selection.deleted, left_out, *removed)
    return Plan(replace(config, shard_size=size), images, *counts, ignored=dict(listed.names.ignored))


def _undenied(inventory: pa.Table, deny: DenyList) -> pa.Table:
    """The listed images that are not denied by their address, some in memory at a time."""
    if deny.empty:
        return inventory
    batches = (pa.Table.from_batches([batch]) for batch in inventory.to_batches(ROW_LIMITS.rows))
    return spill_tables((rows.filter(pc.invert(deny.denies(rows))) for rows in batches), inventory.schema)


def _unexpired(inventory: pa.Table, expired: ExpiredList) -> pa.Table:
    """The listed images that have not expired as they are listed, some in memory at a time."""
    if expired.empty:
        return inventory
    keep, size = pc.invert(expired.has_listing(inventory)), ROW_LIMITS.rows
    pieces = (inventory.slice(start, size).filter(keep.slice(start, size)) for start in range(0, inventory.num_rows, size))
    return spill_tables(pieces, inventory.schema)


def _cut(store: Store, config: RunConfig, known: pa.Table, workers: int) -> ShardSizing:
    largest = LARGEST_WITH_CROPS if config.keep_crops else LARGEST_SHARD
    return ShardSizing(max(workers, 1), SMALLEST_SHARD, largest, measured_rate(store, config.pipeline_digest, known))


def measured_rate(store: Store, pipeline_digest: str, known: pa.Table) -> CostRate:
    """Cost of images in the newest run of this root that processed enough of them with this pipeline; the default where there is none.

    known: `incremental.KNOWN`, with the sizes of images in this root. Stages of a shard overlap, so their sum is slightly too high.
    """
    for run_id in committed_runs(store)[: -RUNS_ASKED - 1 : -1] if known.num_rows else ():
        manifest = read_manifest(store, run_id)
        processed = sum(manifest.statuses.values()) - manifest.reused
        if manifest.pipeline_digest == pipeline_digest and processed >= IMAGES_TO_TELL:
            busy = sum(seconds for stage, seconds in manifest.seconds.items() if stage != "load")
            return CostRate.measured(busy, processed, listed_sizes(known["bytes"]))
    return CostRate()
