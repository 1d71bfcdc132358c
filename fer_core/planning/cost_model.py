"""Expected processing time of images from their listing alone, and shards of equal time. Pure decisions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

IMAGE_SECONDS: Final = 0.015
"""Of any image: opening, the networks' smallest batch, its row."""
BYTE_SECONDS: Final = 1e-7
"""Pixels grow with encoded bytes: a photograph of half a megapixel has some 150 KB, and half of its time depends on pixels."""
UNTOLD_BYTES: Final = 200_000
"""Of an image where the listing has no size at all."""
TARGET_SECONDS: Final = 30.0
"""Of a shard where there are many: the highest cost of a worker failure, and a thousand times the cost of submitting a shard."""
LEAST_SECONDS: Final = 1.0
"""Of a shard at the end of a run. It costs about 30 ms beside its images."""
SCHEDULER_SECONDS: Final = 0.015
"""Times the number of workers: the shortest shard, because the scheduler needs 5 to 10 ms to submit one."""
SHARE_OF_THE_REST: Final = 2
"""A shard is this part of a worker's share of the rest. With 2, workers end together also where estimates are wrong by a factor of 2."""


@dataclass(frozen=True, slots=True)
class CostRate:
    """Seconds of one worker for an image: `scale * (IMAGE_SECONDS + BYTE_SECONDS * bytes)`."""

    scale: float = 1.0

    @classmethod
    def measured(cls, seconds: float, images: int, sizes: NDArray[np.int64]) -> Self:
        """From a run that took so many worker seconds for so many images, of such sizes as `sizes`, which need not be the same images."""
        usual = float(cls().costs(sizes).mean()) if len(sizes) else 0.0
        return cls(min(max(seconds / images / usual, 1e-3), 1e3)) if seconds > 0 and images > 0 and usual > 0 else cls()

    def costs(self, sizes: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) seconds. sizes: (N,) bytes of each image."""
        costs = sizes.astype(np.float64)  # and in place from here on: of millions of images each copy counts
        costs *= BYTE_SECONDS
        costs += IMAGE_SECONDS
        costs *= self.scale
        return costs


@dataclass(frozen=True, slots=True)
class ShardSizing:
    """Bounds and target of shards."""

    workers: int
    """Shards that run at a time."""
    smallest: int
    """Images a shard at least, the last one excepted."""
    largest: int
    """Images a shard at most."""
    rate: CostRate = CostRate()
    target: float = TARGET_SECONDS

    def floor(self, total: float) -> float:
        """Shortest shard in seconds, for a job of `total` seconds."""
        wanted = max(LEAST_SECONDS, SCHEDULER_SECONDS * self.workers)
        return min(wanted, self.target, total / (2 * SHARE_OF_THE_REST * self.workers))


def listed_sizes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """(N,) bytes of each image of a listing; where it has no size, the median of the others."""
    untold = column.is_null().to_numpy()
    sizes = np.asarray(column.fill_null(0).to_numpy(), np.int64)
    if untold.any():
        told = sizes[~untold]
        sizes = np.where(untold, int(np.median(told)) if len(told) else UNTOLD_BYTES, sizes)
    return sizes


def shard_ends(costs: NDArray[np.float64], cut: ShardSizing) -> NDArray[np.int64]:
    """Where each shard ends, exclusive, rising; the last one at N. costs: (N,) seconds of each image, in the order of the plan.

    Guided self-scheduling (Polychronopoulos and Kuck, IEEE Trans. Computers 1987): each shard is half of a worker's share of what is left,
    `target` seconds at most, so that the first are long and the last are short. Workers that take them in this order all end within the
    time of the shortest shard (`floor` seconds, or `smallest` images) of what a perfect division would take, also where estimates are off
    by up to a factor of `SHARE_OF_THE_REST`, see tests/unit/fer_core/planning/test_cost_model.py.
    """
    count = len(costs)
    sums = np.zeros(count + 1)
    np.cumsum(costs, out=sums[1:])
    total, ends, start = float(sums[-1]), list[int](), 0
    floor, share = cut.floor(total), SHARE_OF_THE_REST * cut.workers
    while start < count:
        seconds = max(floor, min(cut.target, (total - sums[start]) / share))
        wanted = int(np.searchsorted(sums, sums[start] + seconds * (1 + 1e-9), side="right")) - 1
        start = min(max(wanted, start + cut.smallest), start + cut.largest, count)
        ends.append(start)
    return np.array(ends, np.int64)


def expected_seconds(sizes: Iterable[int | None]) -> float:
    """Of images of these bytes together, at the usual rate. For comparisons between shards."""
    return sum(IMAGE_SECONDS + BYTE_SECONDS * (UNTOLD_BYTES if size is None else size) for size in sizes)
