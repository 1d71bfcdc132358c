"""Records -> Arrow tables in the order and types of `schema`, and tables -> the bytes of one Parquet part."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS
from fer_core.run.configuration import RunConfig
from fer_core.run.shard_job import ImageRef
from fer_core.tables.schema import FACES, IMAGES, LABELED, LABELS, POINT_NAMES, SCHEMA_VERSION
from fer_core.types import Faces, Predictions, Quality


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """Result for one listed image: one row of the images table, and its labelled faces."""

    ref: ImageRef
    """The image as it was listed."""
    status: str
    """One of `schema.IMAGE_STATUSES`."""
    reason: str | None = None
    """Why, in plain words. Of a `labeled` or `no_face` image: what is wrong with its file, of which the rest was read; None for a sound
    one."""
    sha256: str | None = None
    """Hex digest of the bytes; None where they could not be read."""
    width: int | None = None
    """Pixels, upright; None where the image was not decoded."""
    height: int | None = None
    """Pixels, upright; None where the image was not decoded."""
    faces: Faces | None = None
    """The labelled faces by falling score, of which there is at least one if and only if the status is `labeled`."""
    quality: Quality | None = None
    """As many rows as `faces`."""
    phash: str | None = None
    """See `decode.perceptual_hash`; None where the image was not decoded."""

    def __post_init__(self) -> None:
        found = self.n_faces
        if (self.status == LABELED) != (found > 0) or (found and (self.quality is None or self.sha256 is None)):
            raise ValueError(f"{self.ref.uri}: status {self.status} with {found} faces")

    @property
    def n_faces(self) -> int:
        """Faces labelled in it."""
        return 0 if self.faces is None else len(self.faces)


def face_id(image_sha256: str, face_index: int, pipeline_digest: str) -> str:
    """Id of a face, from image and pipeline: SHA-256 of `<image_sha256>/<face_index>/<pipeline_digest>`, in ASCII.

    The same picture under two names gives the same ids, and so does a later run under the same pipeline.
    """
    return hashlib.sha256(f"{image_sha256}/{face_index}/{pipeline_digest}".encode()).hexdigest()


def images_table(config: RunConfig, facts: Sequence[ImageFacts]) -> pa.Table:
    """One row an image, `schema.IMAGES`, sorted by URI whatever the order of `facts`."""
    rows = sorted(facts, key=_uri)
    columns = {
        "image_uri": [row.ref.uri for row in rows],
        "image_sha256": [row.sha256 for row in rows],
        "bytes": [row.ref.size for row in rows],
        "etag": [row.ref.etag for row in rows],
        "modified_at": [row.ref.modified_us for row in rows],
        "width": [row.width for row in rows],
        "height": [row.height for row in rows],
        "status": [row.status for row in rows],
        "reason": [row.reason for row in rows],
        "n_faces": [row.n_faces for row in rows],
        "seen_at": [config.started_us] * len(rows),
        "phash": [row.phash for row in rows],
        **_provenance(config, len(rows), ("pipeline_digest", "run_id")),
    }
    return _table(columns, IMAGES)


def labels_table(config: RunConfig, facts: Sequence[ImageFacts], predictions: Predictions) -> pa.Table:
    """One row a face, `schema.LABELS`, sorted by URI and face index.

    predictions: for the faces of `facts`, in the order of `facts` and of the faces in each. ValueError when the counts differ.
    A label needs review by the model's own rule, by the run's rule about quality, or because the image is damaged.
    """
    labelled = [row for row in facts if row.faces is not None and row.quality is not None and row.n_faces]
    faces = [row.faces for row in labelled if row.faces]
    quality = _joined_quality([row.quality for row in labelled if row.quality])
    count = sum(len(found) for found in faces)
    if count != len(predictions):
        raise ValueError(f"{count} faces, {len(predictions)} predictions")
    boxes = _joined([found.boxes for found in faces], (4,))
    points = _joined([found.points for found in faces], (5, 2))
    damaged = np.repeat([row.reason is not None for row in labelled], [row.n_faces for row in labelled]).astype(np.bool_)
    columns: dict[str, Any] = {
        **_identity(config, labelled),
        "box_x": boxes[:, 0],
        "box_y": boxes[:, 1],
        "box_w": boxes[:, 2] - boxes[:, 0],
        "box_h": boxes[:, 3] - boxes[:, 1],
        "detection_score": _joined([found.scores for found in faces], ()),
        **{f"{name}_{axis}": points[:, i, j] for i, name in enumerate(POINT_NAMES) for j, axis in enumerate("xy")},
        "face_size_px": quality.face_size_px,
        "sharpness": quality.sharpness,
        "yaw_deg": quality.yaw_deg,
        "pitch_deg": quality.pitch_deg,
        "roll_deg": quality.roll_deg,
        "expression": [EXPRESSIONS[index] for index in predictions.expression],
        "confidence": predictions.confidence,
        **{f"p_{name}": predictions.probabilities[:, index] for index, name in enumerate(EXPRESSIONS)},
        "entropy": predictions.entropy,
        "needs_review": predictions.needs_review | config.quality_rule.flags(quality) | damaged,
        "labeled_at": [config.started_us] * count,
        "novelty": predictions.novelty if predictions.novelty is not None else pa.nulls(count, pa.float32()),
        **_provenance(config, count, ("model_name", "model_digest", "detector", "pipeline_digest", "run_id")),
    }
    return _by_face(_table(columns, LABELS))


def faces_table(config: RunConfig, facts: Sequence[ImageFacts], crops_png: Sequence[bytes]) -> pa.Table:
    """One row a kept crop, `schema.FACES`, sorted by URI and face index. crops_png: encoded crops, in the order of the predictions."""
    labelled = [row for row in facts if row.n_faces]
    columns = {
        **_identity(config, labelled),
        "crop_png": list(crops_png),
        **_provenance(config, len(crops_png), ("detector", "pipeline_digest", "run_id")),
    }
    return _by_face(_table(columns, FACES))


def part_metadata(config: RunConfig) -> dict[str, str]:
    """The provenance in the key-value metadata of every part of a run."""
    return {
        "fer.schema_version": str(SCHEMA_VERSION),
        "fer.run_id": config.run_id,
        "fer.pipeline_digest": config.pipeline_digest,
        "fer.model_digest": config.model_digest,
        "fer.detector": config.detector_identity,
        "fer.purpose": config.purpose,
    }


def _uri(facts: ImageFacts) -> str:
    return facts.ref.uri


def _identity(config: RunConfig, labelled: Sequence[ImageFacts]) -> dict[str, Any]:
    """The columns that identify the face of a row, in the order of `labelled`."""
    keys = [(row.ref.uri, row.sha256 or "", index) for row in labelled for index in range(row.n_faces)]
    return {
        "face_id": [face_id(sha256, index, config.pipeline_digest) for _, sha256, index in keys],
        "image_uri": [uri for uri, _, _ in keys],
        "image_sha256": [sha256 for _, sha256, _ in keys],
        "face_index": [index for _, _, index in keys],
    }


def _provenance(config: RunConfig, count: int, names: Sequence[str]) -> dict[str, Any]:
    """Columns whose value is the run's."""
    values = {
        "model_name": config.model_name,
        "model_digest": config.model_digest,
        "detector": config.detector_identity,
        "pipeline_digest": config.pipeline_digest,
        "run_id": config.run_id,
    }
    return {name: pa.repeat(pa.scalar(values[name]), count) for name in names}


def _joined(blocks: Sequence[NDArray[np.float32]], tail: tuple[int, ...]) -> NDArray[np.float32]:
    """The faces of all images one after another; (0, *tail) when there are none."""
    return np.concatenate([np.zeros((0, *tail), np.float32), *blocks])


def _joined_quality(looks: Sequence[Quality]) -> Quality:
    return Quality(**{field.name: _joined([getattr(look, field.name) for look in looks], ()) for field in fields(Quality)})


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """Exactly the schema's columns, in its order and types."""
    if len(columns) != len(schema):
        raise ValueError(f"columns differ from the schema: {sorted(set(columns) ^ set(schema.names))}")
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _by_face(table: pa.Table) -> pa.Table:
    return table.sort_by([("image_uri", "ascending"), ("face_index", "ascending")])
