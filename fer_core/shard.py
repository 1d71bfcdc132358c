"""One shard of a run, from image URIs to staged parts and a receipt. `label_shard` is the only function that runs on Dask workers.

Safe to run twice, also at the same time: parts are named by their digests, rows depend on nothing but the image and the run, and the
receipt, which alone makes a shard count, is written last.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.errors import FerflowError, ImageError, OutageError, StoreError
from fer_core.labels import EXPRESSIONS
from fer_core.layout import receipt_file, staged_file
from fer_core.read_ahead import ReadAhead
from fer_core.reuse import Reused, earlier_answers
from fer_core.run import ImageRef, PartReceipt, RunConfig, ShardJob, ShardReceipt
from fer_core.schema import CRASHED, LABELED, MISSING, NO_FACE, TOO_LARGE, UNREADABLE
from fer_core.stopwatch import Stopwatch
from fer_core.store import Store, open_store, read_uri
from fer_core.table import ImageFacts, faces_table, images_table, labels_table, merged, part_metadata, write_part
from fer_core.tools import ShardTools, tools_for
from fer_core.types import Faces, Predictions, Quality

FACES_A_BATCH = 256
"""Crops that wait for the network at most, 37 KB each."""

REASON_LENGTH = 300


def label_shard(job: ShardJob, tools: ShardTools | None = None, on_image: Callable[[str | None], None] = lambda _: None) -> ShardReceipt:
    """Label the images of one shard, stage its parts and its receipt.

    tools: a detector and a predictor to use instead of those the run names. on_image: called with the URI of each image that it turns to,
    and with None when it turns to something else. Every image of the job ends as one row of the images part, whatever is wrong with it;
    what an earlier run said of the same content is taken over. DetectorError or ModelError when this worker's tools are not the run's;
    StoreError when staging fails.
    """
    watch = Stopwatch()
    images = tuple(sorted(job.images, key=lambda ref: ref.uri))
    store = open_store(job.config.root)
    with watch.stage("read"):
        reused = earlier_answers(store, job.config, () if job.crashed else images, on_image)
    on_image(None)
    images = tuple(ref for ref in images if ref.uri not in reused.uris)
    if job.crashed:
        labelled = _Labelled([ImageFacts(ref, CRASHED, job.reason) for ref in images], _no_predictions(), [])
    elif images:
        with watch.stage("load"):
            ready = tools or tools_for(job.config)
        labelled = _label(images, job.config, ready, watch, on_image)
    else:
        labelled = _Labelled([], _no_predictions(), [])
    with watch.stage("write"):
        parts = _stage(store, job, labelled, reused)
    receipt = _receipt(job.part, parts, labelled, reused, watch)
    store.write_bytes(receipt_file(job.config.run_id, job.part), json.dumps(receipt.to_json(), indent=1).encode())
    return receipt


@dataclass(frozen=True, slots=True)
class _Labelled:
    """A shard's answers; predictions and crops in the order of the facts and of the faces in each."""

    facts: list[ImageFacts]
    predictions: Predictions
    crops_png: list[bytes]


@dataclass(slots=True)
class _Batch:
    """Crops on their way through the network. Holds the pixels of `FACES_A_BATCH` faces at most."""

    tools: ShardTools
    keep_crops: bool
    watch: Stopwatch
    waiting: list[NDArray[np.uint8]] = field(default_factory=list)
    answers: list[Predictions] = field(default_factory=list)
    crops_png: list[bytes] = field(default_factory=list)

    def add(self, crops: NDArray[np.uint8]) -> None:
        """crops: (N, 112, 112, 3) RGB uint8."""
        self.waiting.extend(crops)
        while len(self.waiting) >= FACES_A_BATCH:
            self.flush()

    def flush(self) -> None:
        """Predict what waits."""
        crops, self.waiting = self.waiting[:FACES_A_BATCH], self.waiting[FACES_A_BATCH:]
        if not crops:
            return
        with self.watch.stage("predict"):
            self.answers.append(self.tools.predictor.predict(np.stack(crops)))
        if self.keep_crops:
            with self.watch.stage("write"):
                self.crops_png.extend(_png(crop) for crop in crops)


def _label(
    images: Sequence[ImageRef], config: RunConfig, tools: ShardTools, watch: Stopwatch, on_image: Callable[[str | None], None]
) -> _Labelled:
    """Images one after another, so that one picture is in memory; their faces together, so that the network gets full batches."""
    batch = _Batch(tools, config.keep_crops, watch)
    facts = []
    with ReadAhead(images, config.max_bytes, read_uri) as ahead:
        for ref in images:
            on_image(ref.uri)
            facts.append(_look(ref, config, batch, ahead))
    on_image(None)
    while batch.waiting:
        batch.flush()
    return _Labelled(facts, _joined(batch.answers), batch.crops_png)


def _look(ref: ImageRef, config: RunConfig, batch: _Batch, ahead: ReadAhead) -> ImageFacts:
    """What became of one image. Its crops join the batch once nothing about it can fail any more."""
    seen = _Seen()
    try:
        faces, quality, crops = _faces(ref, config, batch, seen, ahead)
    except ImageError as error:
        return seen.lost(ref, error.status, error.reason)
    except OutageError:
        raise  # every next one would be lost as well
    except StoreError as error:
        return seen.lost(ref, MISSING, f"the store did not answer: {error}")
    except FerflowError:
        raise  # the tools are broken, not this image: every next one would be lost as well
    except ImportError as error:
        raise FerflowError(f"this installation of ferflow is incomplete: {error}") from error
    except MemoryError:
        return seen.lost(ref, TOO_LARGE, "not enough memory to look at it")
    except Exception as error:  # noqa: BLE001  whatever one odd picture brings up in somebody else's code must not cost the others of its shard
        return seen.lost(ref, UNREADABLE, f"looking at it failed: {type(error).__name__}: {error}")
    batch.add(crops)
    return ImageFacts(ref, LABELED if len(faces) else NO_FACE, None, seen.sha256, seen.width, seen.height, faces, quality)


@dataclass(slots=True)
class _Seen:
    """What is known of an image so far; it stands in the image's row even where a later step fails."""

    sha256: str | None = None
    width: int | None = None
    height: int | None = None

    def lost(self, ref: ImageRef, status: str, reason: str) -> ImageFacts:
        """The row of an image that could not be looked at, the reason in one short line."""
        return ImageFacts(ref, status, " ".join(reason.split())[:REASON_LENGTH], self.sha256, self.width, self.height)


def _faces(ref: ImageRef, config: RunConfig, batch: _Batch, seen: _Seen, ahead: ReadAhead) -> tuple[Faces, Quality, NDArray[np.uint8]]:
    """Read, decode, detect, align: the faces to be labelled, how good they are, and their crops (N, 112, 112, 3) RGB uint8."""
    from fer_core.align import align  # noqa: PLC0415  (these load the image libraries; importing this module must stay quick)
    from fer_core.decode import DecodeLimits, decode  # noqa: PLC0415
    from fer_core.quality import assess  # noqa: PLC0415

    with batch.watch.stage("read"):
        data = ahead.take(ref)
    with batch.watch.stage("decode"):
        seen.sha256 = hashlib.sha256(data).hexdigest()
        picture = decode(data, DecodeLimits(max_bytes=config.max_bytes, max_pixels=config.max_pixels))
        seen.width, seen.height = picture.width, picture.height
    with batch.watch.stage("detect"):
        faces = _kept(batch.tools.detector.detect(picture.pixels), config.min_face_px)
    with batch.watch.stage("align"):
        crops = align(picture.pixels, faces)
        return faces, assess(picture.pixels, faces, crops), crops


def _kept(faces: Faces, min_face_px: float) -> Faces:
    """The faces whose shorter box side is long enough, by falling score; equal scores stay in the detector's order."""
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    large = np.flatnonzero(sides >= min_face_px)
    return faces.take(large[np.argsort(-faces.scores[large], kind="stable")])


def _stage(store: Store, job: ShardJob, labelled: _Labelled, reused: Reused) -> tuple[PartReceipt, ...]:
    """Write the parts; a part without rows is written too, so that every table can be read after the first run."""
    tables = {
        "labels": labels_table(job.config, labelled.facts, labelled.predictions),
        "images": images_table(job.config, labelled.facts),
    }
    if job.config.keep_crops:
        tables["faces"] = faces_table(job.config, labelled.facts, labelled.crops_png)
    return tuple(_stage_part(store, job, name, merged([table, reused.tables[name]])) for name, table in tables.items())


def _stage_part(store: Store, job: ShardJob, name: str, table: pa.Table) -> PartReceipt:
    data = write_part(table, part_metadata(job.config))
    part = PartReceipt(name, f"{job.part}.parquet", table.num_rows, len(data), hashlib.sha256(data).hexdigest())
    store.write_bytes(staged_file(job.config.run_id, part), data)
    return part


def _receipt(part: str, parts: tuple[PartReceipt, ...], labelled: _Labelled, reused: Reused, watch: Stopwatch) -> ShardReceipt:
    statuses = Counter(facts.status for facts in labelled.facts) + Counter(reused.tables["images"]["status"].to_pylist())
    expressions = Counter(EXPRESSIONS[index] for index in labelled.predictions.expression)
    expressions += Counter(reused.tables["labels"]["expression"].to_pylist())
    seconds = {stage: round(value, 4) for stage, value in watch.seconds.items()}
    faces = len(labelled.predictions) + reused.tables["labels"].num_rows
    return ShardReceipt(
        part, parts, dict(sorted(statuses.items())), dict(sorted(expressions.items())), faces, seconds, reused=len(reused.uris)
    )


def _joined(answers: Sequence[Predictions]) -> Predictions:
    """The batches' answers one after another."""
    if not answers:
        return _no_predictions()
    return Predictions(
        np.concatenate([answer.probabilities for answer in answers]),
        np.concatenate([answer.expression for answer in answers]),
        np.concatenate([answer.confidence for answer in answers]),
        np.concatenate([answer.entropy for answer in answers]),
        np.concatenate([answer.needs_review for answer in answers]),
    )


def _no_predictions() -> Predictions:
    zero = np.zeros(0, np.float32)
    return Predictions(np.zeros((0, len(EXPRESSIONS)), np.float32), np.zeros(0, np.int64), zero, zero, np.zeros(0, np.bool_))


def _png(crop: NDArray[np.uint8]) -> bytes:
    """(112, 112, 3) RGB uint8 -> PNG."""
    import cv2  # noqa: PLC0415  (see above)

    return bytes(cv2.imencode(".png", crop[..., ::-1])[1])
