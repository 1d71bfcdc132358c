"""A detector and a predictor that take no time, pictures that tell them what to do, and a whole run over such pictures.

The first pixel of a fake picture is its script: red is the number of faces, green the trouble it makes, blue is 0. Where a picture is
turned or shrunk, other pixels come first.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from fer_core.commit.manifest import Manifest
from fer_core.commit.plan import Plan, as_plan, write_plan
from fer_core.commit.publish import publish
from fer_core.errors import DetectorError
from fer_core.labels import EXPRESSIONS
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ImageRef, ShardJob
from fer_core.storage.store import open_store
from fer_core.tables.schema import INVENTORY
from fer_core.types import Faces, Predictions

BROKEN, HUGE, BROKEN_DETECTOR = 1, 2, 3
"""Troubles: the detector fails on this picture; runs out of memory; fails on every picture."""

STARTED_US = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z."""


def picture(faces: int, trouble: int = 0, seed: int = 0) -> bytes:
    """PNG, 200 x 64, noise under the script."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 200, 3), np.uint8)
    pixels[0, 0] = faces, trouble, 0
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=0)
    return stream.getvalue()


class FakeDetector:
    """Faces in a row, 40 px apart and 30 wide, given in the wrong order; score 0.5 + the face's number / 100."""

    identity = "fake-1"

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        count, trouble = (0, 0) if pixels[0, 0, 2] else (int(pixels[0, 0, 0]), int(pixels[0, 0, 1]))
        if trouble == BROKEN:
            raise ValueError("no idea\n what this is")
        if trouble == HUGE:
            raise MemoryError
        if trouble == BROKEN_DETECTOR:
            raise DetectorError("the detector is broken")
        left = np.arange(count, dtype=np.float32) % 4 * 40
        top = np.full(count, 10, np.float32)
        boxes = np.stack([left, top, left + 30, top + 36], axis=1)
        template = np.array([[9, 12], [21, 12], [15, 20], [10, 27], [20, 27]], np.float32)
        points = boxes[:, None, :2] + template
        scores = 0.5 + np.arange(count, dtype=np.float32) / 100
        return Faces(boxes, points.astype(np.float32), scores.astype(np.float32))


@dataclass
class FakePredictor:
    """An expression that hangs on the crop's content alone."""

    digest: str = "0" * 64
    batches: list[int] = field(default_factory=list)
    """Sizes of the batches it was given."""

    def predict(self, crops: NDArray[np.uint8], /) -> Predictions:
        self.batches.append(len(crops))
        index = np.array([hashlib.sha256(crop.tobytes()).digest()[0] % 8 for crop in crops], np.int64)
        probabilities = np.full((len(crops), len(EXPRESSIONS)), 0.05, np.float32)
        probabilities[np.arange(len(crops)), index] = 0.65
        confidence = probabilities.max(axis=1)
        return Predictions(probabilities, index, confidence, np.full(len(crops), 0.7, np.float32), confidence < 0.5)


def tools() -> WorkerModels:
    return WorkerModels(FakeDetector(), FakePredictor())


def config(root: str | Path, run_id: str = "run-a", source: str = "/photos") -> RunConfig:
    return RunConfig(
        run_id=run_id,
        run_date="2026-01-01",
        source=source,
        root=str(root),
        detector="fake",
        detector_identity="fake-1",
        model="fake",
        model_name="fake",
        model_digest="0" * 64,
        purpose="tests",
        started_us=STARTED_US,
    )


def write_pictures(folder: Path, faces: Sequence[int]) -> Path:
    """`folder/image-000.png` with so many faces, and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, count in enumerate(faces):
        (folder / f"image-{number:03d}.png").write_bytes(picture(count, seed=number))
    return folder


def refs(folder: Path) -> list[ImageRef]:
    """What a listing of the folder says."""
    files = sorted(path for path in folder.iterdir())
    return [ImageRef(str(path), path.stat().st_size, None, path.stat().st_mtime_ns // 1000) for path in files]


def inventory(images: Sequence[ImageRef]) -> pa.Table:
    rows = [{"image_uri": ref.uri, "bytes": ref.size, "etag": ref.etag, "modified_at": ref.modified_us} for ref in images]
    return pa.Table.from_pylist(rows, INVENTORY)


def plan_table(images: Sequence[ImageRef], shard_size: int) -> pa.Table:
    shards = pa.array([number // shard_size for number in range(len(images))], pa.int32())
    earlier = pa.array([ref.earlier_part for ref in images], pa.string())
    failed = pa.array([ref.failed_before for ref in images], pa.bool_())
    images_by_shard = inventory(images).append_column("shard", shards)
    images_by_shard = images_by_shard.append_column("earlier_part", earlier).append_column("failed_before", failed)
    return as_plan(images_by_shard.append_column("earlier_uri", pa.array([ref.earlier_uri for ref in images], pa.string())))


def jobs(run: RunConfig, images: Sequence[ImageRef], shard_size: int) -> list[ShardJob]:
    starts = range(0, len(images), shard_size)
    return [ShardJob(run, PartName(number), tuple(images[start : start + shard_size])) for number, start in enumerate(starts)]


def stage_run(run: RunConfig, images: Sequence[ImageRef], shard_size: int = 3) -> list[ShardReceipt]:
    """Plan written, every shard labelled, nothing published."""
    plan = plan_table(images, shard_size)
    write_plan(open_store(run.root), Plan(run, plan, listed=len(images), unchanged=0, deleted=0))
    return [label_shard(job, tools()) for job in jobs(run, images, shard_size)]


def label(run: RunConfig, images: Sequence[ImageRef], shard_size: int = 3, largest_part: int = 0) -> Manifest:
    """A whole run. Parts stay apart, so that a few pictures make several files."""
    return publish(open_store(run.root), run, stage_run(run, images, shard_size), largest_part=largest_part)


def tree(root: Path) -> dict[str, str]:
    """Digest of every file below a folder, by relative path."""
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(root.rglob("*")) if file.is_file()
    }


def keeping_crops(run: RunConfig) -> RunConfig:
    return replace(run, keep_crops=True)


class CutOffError(Exception):
    """What `FaultyStore` raises."""


@dataclass
class FaultyStore:
    """A store that is cut off at its n-th change: before it, after it, or between the copying and the deleting of a move."""

    store: Any
    change: int
    moment: str
    """`before`, `after` or `between`."""
    done: int = 0

    def write_bytes(self, path: str, data: bytes) -> None:
        self._change(lambda: self.store.write_bytes(path, data))

    def move(self, source: str, target: str) -> None:
        self._change(lambda: self.store.move(source, target), lambda: self.store.write_bytes(target, self.store.read_bytes(source)))

    def remove_tree(self, folder: str) -> None:
        self._change(lambda: self.store.remove_tree(folder))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def _change(self, whole: Callable[[], None], half: Callable[[], None] | None = None) -> None:
        self.done += 1
        if self.done != self.change:
            return whole()
        if self.moment == "after":
            whole()
        if self.moment == "between" and half:
            half()
        raise CutOffError
