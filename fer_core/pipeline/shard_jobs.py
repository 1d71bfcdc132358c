"""A plan -> the jobs of its shards, each with its images. Pure functions."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.shard_job import ImageRef, ShardJob


def jobs(config: RunConfig, images: pa.Table, shards: list[int]) -> Iterator[ShardJob]:
    """The jobs of some shards of a plan, created lazily."""
    for shard, refs in shards_of(images, shards):
        yield ShardJob(config, PartName(shard), refs)


def shards_of(plan: pa.Table, shards: Iterable[int]) -> Iterator[tuple[int, tuple[ImageRef, ...]]]:
    """Some shards of a plan, each with its images, created lazily. plan: sorted by shard."""
    numbers = plan["shard"].to_numpy()
    for shard in shards:
        first, end = np.searchsorted(numbers, [shard, shard + 1])
        yield shard, _refs(plan.slice(first, end - first))


def shard_images(plan: pa.Table, shard: int) -> tuple[ImageRef, ...]:
    """The images of one shard of a plan, in its order. plan: sorted by shard."""
    return next(shards_of(plan, [shard]))[1]


def _refs(rows: pa.Table) -> tuple[ImageRef, ...]:
    modified = rows["modified_at"].cast(pa.int64())  # not as datetime, whose range of years a wrong clock may exceed
    listed = (rows["image_uri"], rows["bytes"], rows["etag"], modified)
    columns = (*listed, rows["earlier_part"], pc.fill_null(rows["failed_before"], False), rows["earlier_uri"])
    return tuple(ImageRef(*values) for values in zip(*(column.to_pylist() for column in columns), strict=True))
