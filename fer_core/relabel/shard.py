"""One shard of a relabelling, from kept crops to staged parts and a receipt: what runs on Dask workers.

Safe to run twice, like `pipeline.shard.label_shard`: rows depend only on the crops, the run and the measurements of earlier runs. A row
equals the one that labelling the photograph with the new model would write, because the crop has the very pixels of the network's input.
"""

import hashlib
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.commit.manifest import Manifest
from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import read_manifest
from fer_core.errors import ClusterError, CommitError, ImageError
from fer_core.labels import EXPRESSIONS
from fer_core.pipeline.worker_models import predictor_for, prepare_process
from fer_core.predict.base import FacePredictor
from fer_core.relabel.survey import parts_beside, run_id_of
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.run.shard_job import ImageRef, ShardJob
from fer_core.storage.paths import receipt_file, staged_file
from fer_core.storage.store import Store, open_store
from fer_core.tables.builder import face_id, part_metadata
from fer_core.tables.parquet_writer import merged, write_part
from fer_core.tables.schema import IMAGES, LABELS, SCHEMAS
from fer_core.timing import Stopwatch
from fer_core.types import CROP_SIZE, Predictions, Quality

FACES_A_BATCH: Final = 256
"""Crops that are decoded for one batch of the network, 37 KB each."""

_thread = threading.local()


def relabel_shard(
    job: ShardJob, predictor: FacePredictor | None = None, on_progress: Callable[[str | None], None] = lambda _: None
) -> ShardReceipt:
    """Label the kept faces of one shard again, stage its parts and its receipt.

    job: its images name in `earlier_part` the images part beside which their crops are, of runs of one look. predictor: to use instead of
    the run's. on_progress: as in `pipeline.shard.label_shard`. CommitError when the crops are missing or do not match their manifest,
    ModelError when this worker's model is not the run's, ClusterError when workers fail at this shard.
    """
    if job.crashed:
        raise ClusterError(f"workers die while they label the kept faces of {job.images[0].uri}")
    watch, store = Stopwatch(), open_store(job.config.root)
    on_progress(None)
    with watch.stage("read"):
        images, labels, faces, config = _kept(store, job)
    with watch.stage("load"):
        ready = predictor or _predictor_for(config) if labels.num_rows else None
    predictions, exposure = _looked_at(faces, ready, watch, on_progress)
    tables = {
        "labels": _labels(config, labels, predictions, exposure, _damaged(images)),
        "images": _images(config, images, {ref.uri: ref for ref in job.images}),
    }
    with watch.stage("write"):
        parts = tuple(_stage(store, config, job.part, name, table) for name, table in tables.items())
    receipt = _receipt(job.part, parts, tables, watch)
    store.write_bytes(receipt_file(config.run_id, job.part), json.dumps(receipt.to_json(), indent=1).encode())
    return receipt


def _kept(store: Store, job: ShardJob) -> tuple[pa.Table, pa.Table, pa.Table, RunConfig]:
    """Rows of images, labels and faces of the job's images, sorted, and the run's configuration with their look."""
    by_run: dict[str, list[ImageRef]] = defaultdict(list)
    for ref in job.images:
        assert ref.earlier_part is not None
        by_run[run_id_of(ref.earlier_part)].append(ref)
    found: dict[str, list[pa.Table]] = {name: [schema.empty_table()] for name, schema in SCHEMAS.items()}
    config = job.config
    for run_id, refs in sorted(by_run.items()):
        manifest = read_manifest(store, run_id)
        config = _under_look_of(job.config, manifest.run_config())
        for name in SCHEMAS:
            found[name] += _rows(store, manifest, name, refs)
    images, labels, faces = (merged(found[name]) for name in ("images", "labels", "faces"))
    _check(job, images, labels, faces)
    return images, labels, faces, config


def _under_look_of(config: RunConfig, earlier: RunConfig) -> RunConfig:
    """The run's configuration with the look of an earlier run: all settings that change a result, except the model, are the earlier
    run's."""
    return replace(
        config,
        detector=earlier.detector,
        detector_identity=earlier.detector_identity,
        max_bytes=earlier.max_bytes,
        max_pixels=earlier.max_pixels,
        min_face_px=earlier.min_face_px,
        min_face=earlier.min_face,
        finest_px=earlier.finest_px,
        turned=earlier.turned,
        second_decode=earlier.second_decode,
        quality_rule=earlier.quality_rule,
    )


def _rows(store: Store, manifest: Manifest, name: str, refs: Sequence[ImageRef]) -> Iterator[pa.Table]:
    """The rows of a table for some images."""
    uris = pa.array([ref.uri for ref in refs], pa.string())
    for part in parts_beside(manifest, [ref.earlier_part for ref in refs if ref.earlier_part is not None], name):
        yield read_part(store, part, SCHEMAS[part.table], manifest.run_id, uris)


def _check(job: ShardJob, images: pa.Table, labels: pa.Table, faces: pa.Table) -> None:
    """CommitError unless each image is there once, with its faces and a crop of each."""
    keys = ["image_uri", "face_index"]
    counts = labels["image_uri"].value_counts().to_pylist()
    told = {row["image_uri"]: row["n_faces"] for row in images.select(["image_uri", "n_faces"]).to_pylist() if row["n_faces"]}
    whole = images["image_uri"].to_pylist() == sorted(ref.uri for ref in job.images)
    if not whole or told != {row["values"]: row["counts"] for row in counts} or not labels.select(keys).equals(faces.select(keys)):
        raise CommitError(f"the kept faces of {job.part} are not complete: `ferflow verify` lists what is missing")


def _looked_at(
    faces: pa.Table, predictor: FacePredictor | None, watch: Stopwatch, on_progress: Callable[[str | None], None]
) -> tuple[Predictions, NDArray[np.float32]]:
    """The network's predictions for each crop, and the exposure of each, (N,): the one measure of quality without a column."""
    answers, exposures = [], [np.zeros(0, np.float32)]
    for start in range(0, faces.num_rows, FACES_A_BATCH):
        assert predictor is not None
        batch = faces.slice(start, FACES_A_BATCH)
        with watch.stage("decode"):
            crops = _decoded(batch, on_progress)
        on_progress(None)
        with watch.stage("align"):
            exposures.append(_exposures(crops))
        with watch.stage("predict"):
            answers.append(predictor.predict(crops))
    return Predictions.joined(answers), np.concatenate(exposures)


def _decoded(faces: pa.Table, on_progress: Callable[[str | None], None]) -> NDArray[np.uint8]:
    """(N, 112, 112, 3) RGB uint8."""
    from fer_core.decode.crop_image import colour_crop

    crops = np.zeros((faces.num_rows, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for number, row in enumerate(faces.select(["image_uri", "face_index", "crop_png"]).to_pylist()):
        on_progress(row["image_uri"])
        try:
            crops[number] = colour_crop(row["crop_png"])
        except ImageError as error:
            where = f"face {row['face_index']} of {row['image_uri']}"
            raise CommitError(f"the kept crop of {where} is no {CROP_SIZE}x{CROP_SIZE} image ({error.reason})") from error
    return crops


def _exposures(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    from fer_core.align.quality import exposure

    return np.array([exposure(crop) for crop in crops], np.float32)


def _damaged(images: pa.Table) -> pa.Array:
    """URIs of the images whose files are damaged, see `builder.ImageFacts`."""
    return images.filter(images["reason"].is_valid())["image_uri"].combine_chunks()


def _labels(config: RunConfig, earlier: pa.Table, predictions: Predictions, exposure: NDArray[np.float32], damaged: pa.Array) -> pa.Table:
    """The earlier rows, `schema.LABELS`, with the new model's predictions and provenance. damaged: URIs whose faces need review."""
    import pyarrow.compute as pc

    measured = {name: earlier[name].to_numpy() for name in ("face_size_px", "sharpness", "yaw_deg", "pitch_deg", "roll_deg")}
    quality = Quality(**measured, exposure=exposure)
    keys = zip(earlier["image_sha256"].to_pylist(), earlier["face_index"].to_pylist(), strict=True)
    now: dict[str, Any] = {
        "face_id": [face_id(sha256, index, config.pipeline_digest) for sha256, index in keys],
        "expression": [EXPRESSIONS[index] for index in predictions.expression],
        "confidence": predictions.confidence,
        **{f"p_{name}": predictions.probabilities[:, index] for index, name in enumerate(EXPRESSIONS)},
        "entropy": predictions.entropy,
        "needs_review": predictions.needs_review
        | config.quality_rule.flags(quality)
        | pc.is_in(earlier["image_uri"], value_set=damaged).to_numpy(),
        "novelty": predictions.novelty if predictions.novelty is not None else [None] * len(predictions),
    }
    whole = {"model_name": config.model_name, "model_digest": config.model_digest, "labeled_at": config.started_us, **_provenance(config)}
    return _with(earlier, LABELS, now, whole)


def _images(config: RunConfig, earlier: pa.Table, refs: dict[str, ImageRef]) -> pa.Table:
    """The earlier rows, `schema.IMAGES`, with the images listed as in their newest result."""
    listed = [refs[uri] for uri in earlier["image_uri"].to_pylist()]
    now = {"bytes": [ref.size for ref in listed], "etag": [ref.etag for ref in listed], "modified_at": [ref.modified_us for ref in listed]}
    return _with(earlier, IMAGES, now, {"seen_at": config.started_us, **_provenance(config)})


def _provenance(config: RunConfig) -> dict[str, Any]:
    return {"detector": config.detector_identity, "pipeline_digest": config.pipeline_digest, "run_id": config.run_id}


def _with(earlier: pa.Table, schema: pa.Schema, now: dict[str, Any], whole: dict[str, Any]) -> pa.Table:
    """A table with some columns replaced. now: a value a row; whole: one value for all."""
    count = earlier.num_rows
    new = {name: pa.array(values, schema.field(name).type) for name, values in now.items()}
    new |= {name: pa.array([value] * count, schema.field(name).type) for name, value in whole.items() if name in schema.names}
    return pa.table([new.get(name, earlier[name]) for name in schema.names], schema=schema)


def _stage(store: Store, config: RunConfig, part: PartName, name: str, table: pa.Table) -> PartReceipt:
    data = write_part(table, part_metadata(config))
    receipt = PartReceipt(name, part, table.num_rows, len(data), hashlib.sha256(data).hexdigest())
    store.write_bytes(staged_file(config.run_id, receipt), data)
    return receipt


def _receipt(part: PartName, parts: tuple[PartReceipt, ...], tables: dict[str, pa.Table], watch: Stopwatch) -> ShardReceipt:
    statuses = Counter(tables["images"]["status"].to_pylist())
    expressions = Counter(tables["labels"]["expression"].to_pylist())
    seconds = {stage: round(value, 4) for stage, value in watch.seconds.items()}
    return ShardReceipt(part, parts, dict(sorted(statuses.items())), dict(sorted(expressions.items())), tables["labels"].num_rows, seconds)


def _predictor_for(config: RunConfig) -> FacePredictor:
    """The run's model alone: relabelling needs no detector. Loaded at a thread's first shard and kept, as
    `worker_models.load_worker_models` does.
    """
    key = (config.model, config.answering, config.device)
    kept: dict[object, FacePredictor] = _thread.__dict__.setdefault("predictors", {})
    if key not in kept:
        kept.clear()
        prepare_process()
        kept[key] = predictor_for(config)
    return kept[key]
