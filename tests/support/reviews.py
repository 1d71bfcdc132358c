"""A labels root over drawn faces, as reviews need it: photographs that a page can show, and labels that are not all alike."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.align.aligner import align_one
from fer_core.commit.manifest import Manifest
from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.publish import publish
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.labels import EXPRESSIONS
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.worker_models import WorkerModels
from fer_core.review.present import present_labels
from fer_core.run.configuration import RunConfig
from fer_core.storage.store import open_store
from fer_core.tables.schema import LABELS, POINT_NAMES
from fer_core.types import Faces, Predictions
from tests.support import fakes
from tests.support.made_faces import encoded, face

SIDE = 168
STEP = 200
DAY_US = 86_400_000_000
BOX = np.array([21, 20, 147, 168], np.float32)
POINTS = np.array([[57, 78], [111, 78], [84, 104], [62, 135], [106, 135]], np.float32)


def photograph(expressions: Sequence[str], seed: int = 0) -> bytes:
    """PNG: faces beside each other on a plain ground. The first pixel tells the detector how many there are."""
    rng = np.random.default_rng([seed, len(expressions)])
    pixels = np.full((220, 40 + STEP * len(expressions), 3), rng.integers(70, 190, 3), np.uint8)
    for number, expression in enumerate(expressions):
        drawn = cv2.resize(cv2.GaussianBlur(face(expression, rng), (0, 0), 0.8), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        warm = np.stack([drawn, drawn * 0.86, drawn * 0.74], axis=-1).astype(np.uint8)
        pixels[24 : 24 + SIDE, 36 + STEP * number : 36 + STEP * number + SIDE] = warm
    pixels[0, 0] = len(expressions), seed % 256, 0
    return encoded(pixels)


def photographs(folder: Path, count: int, faces: int = 1, first: int = 0) -> Path:
    """`folder/photo-000.png` and so on, expressions in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        named = [EXPRESSIONS[(number + offset) % 8] for offset in range(faces)]
        (folder / f"photo-{number:03d}.png").write_bytes(photograph(named, number))
    return folder


@dataclass(frozen=True)
class DrawnDetector:
    """Finds each drawn face, its box moved by `shift` pixels."""

    shift: int = 0

    @property
    def identity(self) -> str:
        return f"drawn-{self.shift}"

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        count = int(pixels[0, 0, 0])
        corner = np.stack([36 + STEP * np.arange(count), np.full(count, 24)], axis=1).astype(np.float32)
        boxes = BOX + np.tile(corner, 2) + np.float32(self.shift)
        return Faces(boxes, POINTS + corner[:, None], (0.99 - np.arange(count) / 100).astype(np.float32))


@dataclass(frozen=True)
class Guesser:
    """Guesses by the crop's bytes and its own digest, more or less sure."""

    digest: str = "a" * 64

    def predict(self, crops: NDArray[np.uint8], /) -> Predictions:
        probabilities = np.zeros((len(crops), 8), np.float32)
        for row, crop in enumerate(crops):
            drawn = hashlib.sha256(self.digest.encode() + crop.tobytes()).digest()
            sure = 0.3 + 0.6 * drawn[1] / 255
            probabilities[row] = (1 - sure) / 7
            probabilities[row, drawn[0] % 8] = sure
        named, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        return Predictions(probabilities, named.astype(np.int64), confidence, np.full(len(crops), 0.5, np.float32), confidence < 0.5)


def night(
    root: str | Path, folder: Path, number: int = 0, *, shift: int = 0, model: str = "a", keep_crops: bool = False
) -> tuple[Manifest, RunConfig]:
    """Label the folder and those in it on the `number`-th day, with a detector and a model of one's own."""
    detector, predictor = DrawnDetector(shift), Guesser(model * 64)
    config = replace(
        fakes.config(root, f"night-{number}", str(folder)),
        run_date=f"2026-01-{number + 1:02d}",
        started_us=fakes.STARTED_US + number * DAY_US,
        detector_identity=detector.identity,
        model_name=f"model-{model}",
        model_digest=predictor.digest,
        keep_crops=keep_crops,
    )
    places = [folder, *(place for place in folder.iterdir() if place.is_dir())]
    files = [ref for place in places for ref in fakes.refs(place) if Path(ref.uri).is_file()]
    images = sorted(files, key=lambda ref: ref.uri)
    write_plan(open_store(config.root), Plan(config, fakes.plan_table(images, 4), listed=len(images), unchanged=0, deleted=0))
    receipts = [label_shard(job, WorkerModels(detector, predictor)) for job in fakes.jobs(config, images, 4)]
    return publish(open_store(config.root), config, receipts), config


def correction(row: dict[str, Any], verdict: str, at: str = "2026-02-01T10:00:00.000Z") -> dict[str, Any]:
    """What the page saves of a row of the labels table."""
    return {
        "image_sha256": row["image_sha256"],
        "image_uri": row["image_uri"],
        "box": [row[f"box_{name}"] for name in "xywh"],
        "verdict": verdict,
        "previous_expression": row["expression"],
        "previous_model": row["model_digest"],
        "reviewed_at": at,
    }


def corrections(entries: Sequence[dict[str, Any]], export_id: str = "0" * 16, reviewer: str = "Anna") -> dict[str, Any]:
    """A corrections file."""
    head = {"format": "ferflow corrections", "version": 1, "export_id": export_id, "reviewer": reviewer}
    return {**head, "corrections": list(entries)}


def written(file: Path, value: object) -> Path:
    """The value as a JSON file."""
    file.write_text(json.dumps(value), "utf-8")
    return file


def labels_of(root: str | Path) -> list[dict[str, Any]]:
    """The current labels, sorted by image and face."""
    with present_labels(open_store(str(root))) as labels:
        return labels.columns(LABELS.names).to_pylist()


def crop_of(row: dict[str, Any]) -> NDArray[np.uint8]:
    """(112, 112, 3) the aligned face that a label is about."""
    points = np.array([[row[f"{name}_x"], row[f"{name}_y"]] for name in POINT_NAMES], np.float32)
    return align_one(decode(Path(row["image_uri"]).read_bytes(), DecodeLimits()).pixels, points)
