"""A labels root of any size without any picture: committed runs whose rows are drawn from fixed random numbers.

    python -m benchmarks.common.large_root ROOT --faces 1000000

Every tenth day from 5 January 2026 a night labels new images in five albums: the first half of the nights with `tiny`, the others with
`tiny-2`. Between the halves `tiny-2` labels the images of the first night again. Some images have no face, some are quarantined, some
have the bytes of the image before them and some look like it. The same sizes give the same bytes.
"""

import argparse
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.commit.manifest import Manifest, Part
from fer_core.hashing import json_sha256
from fer_core.labels import EXPRESSIONS
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt
from fer_core.storage.paths import manifest_file, published_file
from fer_core.tables.builder import part_metadata
from fer_core.tables.parquet_writer import write_part
from fer_core.tables.schema import IMAGE_STATUSES, LABELED, POINT_NAMES, QUARANTINE, SCHEMAS

ALBUMS: Final = ("beach", "birthday", "concert", "market", "wedding")
MOODS: Final = ("happiness", "happiness", "surprise", "neutral", "happiness")
"""What more faces of an album show than of others."""
MOODY: Final = 0.3
"""How many more."""
FACES: Final = (1, 0, 2, 1, 3, 1, 4, 1, 2, 1)
"""Faces of images in turn, 1.6 in the mean."""
FAILED_EVERY: Final = 41
"""Of so many images one is quarantined."""
REASONS: Final = {
    "unreadable": "truncated JPEG image",
    "too_large": "20,000 x 20,000 pixels, more than 200,000,000",
    "unsupported": "a folder, not an image",
    "missing": "the file is not there",
    "crashed": "the worker process ended",
}
WEIGHTS: Final = (0.38, 0.30, 0.09, 0.08, 0.06, 0.03, 0.04, 0.02)
"""How common the expressions are, in the order of `EXPRESSIONS`."""
FIRST: Final = datetime(2026, 1, 5, 2, tzinfo=UTC)
DAYS_APART, PART_IMAGES = 10, 50_000
SECONDS: Final = {"read": 0.002, "decode": 0.008, "detect": 0.03, "align": 0.001, "predict": 0.01}
"""Of workers, an image or a face."""
CHANGED: Final = 0.2
"""Of the faces that `tiny-2` labels again, how many get another expression."""


@dataclass(frozen=True, slots=True)
class RootSize:
    """How much there is."""

    faces: int
    """About so many rows of labels."""
    nights: int = 20

    @property
    def images(self) -> int:
        """Of each night. One night is labelled twice."""
        return max(len(ALBUMS), round(self.faces / (np.mean(FACES) * (1 - 1 / FAILED_EVERY)) / (self.nights + 1)))


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--faces", type=int, default=1_000_000)
    parser.add_argument("--nights", type=int, default=20)
    args = parser.parse_args()
    made = make_root(args.root, RootSize(args.faces, args.nights))
    print(f"{sum(manifest.faces for manifest in made):,} faces in {len(made)} runs below {args.root}")


def make_root(root: Path, size: RootSize) -> list[Manifest]:
    """Commit all runs, in order."""
    half, runs = size.nights // 2, list[Manifest]()
    for number in range(size.nights):
        if number == half:
            runs.append(_commit(_config(root, "relabel-1", number - 0.5, "tiny-2"), range(size.images), size.images, again=True))
        model = "tiny" if number < half else "tiny-2"
        first = number * size.images
        runs.append(_commit(_config(root, f"night-{number + 1:02d}", number, model), range(first, first + size.images), size.images))
    return runs


def _config(root: Path, run_id: str, nights: float, model: str) -> RunConfig:
    started = FIRST + nights * timedelta(days=DAYS_APART)
    digest = hashlib.sha256(model.encode()).hexdigest()
    config = RunConfig(run_id, f"{started:%Y-%m-%d}", "/photos", str(root), "builtin", "builtin-1", model, model, digest)
    return replace(config, purpose="album search", started_us=round(started.timestamp() * 1e6))


def _commit(config: RunConfig, numbers: range, per_night: int, *, again: bool = False) -> Manifest:
    """One run as `commit.publish` leaves it. again: whether the images have labels of the first model."""
    parts, statuses, expressions = list[Part](), dict.fromkeys(IMAGE_STATUSES, 0), dict.fromkeys(EXPRESSIONS, 0)
    for shard, start in enumerate(range(numbers.start, numbers.stop, PART_IMAGES)):
        images, labels = _rows(config, range(start, min(start + PART_IMAGES, numbers.stop)), per_night, again)
        parts += [_written(config, table, PartName(shard), rows) for table, rows in (("labels", labels), ("images", images))]
        for counts, column in ((statuses, images["status"]), (expressions, labels["expression"])):
            for found in column.value_counts().to_pylist():
                counts[found["values"]] += found["counts"]
    started = datetime.fromtimestamp(config.started_us / 1e6, UTC)
    images, faces, earlier = len(numbers), sum(expressions.values()), 0 if again else numbers.start
    manifest = Manifest(
        schema_version=1,
        run_id=config.run_id,
        run_date=config.run_date,
        source=config.source,
        purpose=config.purpose,
        detector=config.detector_identity,
        model_name=config.model_name,
        model_digest=config.model_digest,
        pipeline_digest=config.pipeline_digest,
        config_digest=json_sha256(config.to_json()),
        config=config.to_json(),
        listed=earlier + images,
        unchanged=earlier,
        deleted=0,
        statuses=statuses,
        faces=faces,
        expressions=expressions,
        parts=tuple(sorted(parts, key=lambda part: (part.table != "labels", part.path))),
        started_at=started.isoformat(timespec="microseconds"),
        committed_at=(started + timedelta(seconds=20 + images / 40)).isoformat(timespec="microseconds"),
        seconds={
            "read": images * 0.002,
            "decode": images * 0.008,
            "detect": images * 0.03,
            "align": faces * 0.001,
            "predict": faces * 0.01,
        },
        reasons={f"{status}: {REASONS[status]}": statuses[status] for status in QUARANTINE if statuses[status]},
    )
    manifest.check()
    file = Path(config.root, manifest_file(config.run_id))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(manifest.to_bytes())
    return manifest


def _written(config: RunConfig, table: str, name: PartName, rows: pa.Table) -> Part:
    data = write_part(rows, part_metadata(config))
    digest = hashlib.sha256(data).hexdigest()
    path = published_file(config, PartReceipt(table, name, rows.num_rows, len(data), digest))
    file = Path(config.root, path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)  # without the fsync of a store: this is only the stage
    return Part(table, path, rows.num_rows, len(data), digest)


def _rows(config: RunConfig, numbers: range, per_night: int, again: bool) -> tuple[pa.Table, pa.Table]:
    """Images and labels."""
    drawn = np.random.default_rng(numbers.start)
    count = np.arange(numbers.start, numbers.stop)
    failed = count % FAILED_EVERY == FAILED_EVERY // 2
    faces = np.where(failed, 0, np.take(FACES, count % len(FACES)))
    statuses = [
        QUARANTINE[number // FAILED_EVERY % len(QUARANTINE)] if bad else LABELED if found else "no_face"
        for number, bad, found in zip(numbers, failed, faces, strict=True)
    ]
    albums = count % per_night * len(ALBUMS) // per_night
    uris = [f"/photos/{ALBUMS[album]}/IMG_{number:07d}.jpg" for album, number in zip(albums, numbers, strict=True)]
    contents = [hashlib.sha256(b"%d" % (number - (number % 60 == 11))).hexdigest() for number in numbers]
    shared = {"pipeline_digest": config.pipeline_digest, "run_id": config.run_id}
    hashes = drawn.integers(0, 2**64, len(count), np.uint64)
    alike = np.flatnonzero(count % 50 == 7)
    hashes[alike] = hashes[np.maximum(alike - 1, 0)] ^ np.uint64(4)
    unread = [status in ("missing", "too_large") for status in statuses]
    decoded = ~failed
    images = _table(
        "images",
        len(count),
        {
            **shared,
            "image_uri": uris,
            "image_sha256": [None if missed else content for missed, content in zip(unread, contents, strict=True)],
            "bytes": 100_000 + count,
            "modified_at": config.started_us - 86_400_000_000,
            "width": np.where(decoded, 1600, None),
            "height": np.where(decoded, 1200, None),
            "status": statuses,
            "reason": [REASONS.get(status) for status in statuses],
            "n_faces": faces,
            "seen_at": config.started_us,
            "phash": [f"{value:016x}" if good else None for value, good in zip(hashes.tolist(), decoded, strict=True)],
        },
    )
    place = np.repeat(np.arange(len(count)), faces)
    index = np.arange(len(place)) - np.repeat(np.cumsum(faces) - faces, faces)
    return images, _labels(
        config,
        shared=shared,
        uris=[uris[one] for one in place],
        contents=[contents[one] for one in place],
        index=index,
        moods=np.array([EXPRESSIONS.index(mood) for mood in MOODS])[albums[place]],
        again=again,
        drawn=drawn,
    )


def _labels(
    config: RunConfig,
    *,
    shared: dict[str, Any],
    uris: list[str],
    contents: list[str],
    index: NDArray[np.int64],
    moods: NDArray[np.int64],
    again: bool,
    drawn: np.random.Generator,
) -> pa.Table:
    total = len(index)
    size = np.round(20 * 15 ** drawn.random(total), 1)
    expression = np.minimum(np.searchsorted(np.cumsum(WEIGHTS), drawn.random(total)), len(EXPRESSIONS) - 1)
    expression = np.where(drawn.random(total) < MOODY, moods, expression)
    columns = {
        "sharpness": drawn.random(total),
        **{f"{name}_deg": 60 * drawn.random(total) - 30 for name in ("yaw", "pitch", "roll")},
        "novelty": drawn.random(total),
        "detection_score": 0.6 + 0.4 * drawn.random(total),
    }
    if again:
        expression = np.where(drawn.random(total) < CHANGED, (expression + 1) % len(EXPRESSIONS), expression)
    shares = _shares(expression, 0.3 + 0.69 * drawn.random(total) ** (40 / (size + 40)), drawn)
    confidence = shares.max(axis=1)
    logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
    x, y = 300.0 * (index % 4) + 20, 300.0 * (index // 4) + 20
    across, down = (0.3, 0.7, 0.5, 0.35, 0.65), (0.4, 0.4, 0.6, 0.8, 0.8)
    places = zip(POINT_NAMES, across, down, strict=True)
    points = {f"{name}_{axis}": at + share * size for name, *s in places for axis, at, share in zip("xy", (x, y), s, strict=True)}
    ids = (f"{content}/{face}/{config.pipeline_digest}" for content, face in zip(contents, index, strict=True))
    return _table(
        "labels",
        total,
        {
            **shared,
            **columns,
            **points,
            "face_id": [hashlib.sha256(one.encode()).hexdigest() for one in ids],
            "image_uri": uris,
            "image_sha256": contents,
            "face_index": index,
            "box_x": x,
            "box_y": y,
            "box_w": size,
            "box_h": size,
            "face_size_px": size,
            "expression": np.take(EXPRESSIONS, expression),
            "confidence": confidence,
            **{f"p_{name}": shares[:, number] for number, name in enumerate(EXPRESSIONS)},
            "entropy": -(shares * logs).sum(axis=1) / np.log(len(EXPRESSIONS)),
            "needs_review": (confidence < 0.5) | (size < 32),
            "model_name": config.model_name,
            "model_digest": config.model_digest,
            "detector": config.detector_identity,
            "labeled_at": config.started_us,
        },
    )


def _shares(expression: NDArray[np.int64], confidence: NDArray[np.float64], drawn: np.random.Generator) -> NDArray[np.float64]:
    """(N, 8) in four decimals, rows sum to 1: `confidence` for the expression, which is the largest, and the rest for the others."""
    others = 0.5 + drawn.random((len(expression), len(EXPRESSIONS)))
    first = np.arange(len(expression)), expression
    others[first] = 0
    parts = np.floor(10_000 * (1 - confidence)[:, None] * others / others.sum(axis=1, keepdims=True))
    parts[first] = 10_000 - parts.sum(axis=1)
    return parts / 10_000


def _table(name: str, count: int, columns: dict[str, Any]) -> pa.Table:
    """Columns of one value for all rows, or of a value a row; those that are not given are null."""

    def array(field: pa.Field) -> pa.Array:
        value = columns.get(field.name)
        if value is None or isinstance(value, str | int):
            return pa.repeat(pa.scalar(value, field.type), count)
        return pa.array(value.tolist() if isinstance(value, np.ndarray) and value.dtype == object else value).cast(field.type)

    return pa.table([array(field) for field in SCHEMAS[name]], schema=SCHEMAS[name])


if __name__ == "__main__":
    main()
