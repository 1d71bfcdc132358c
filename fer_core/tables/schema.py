"""Arrow schemas, version 1. Fixed and fully nullable; plain types only; field ids never change their meaning."""

from typing import Final

import pyarrow as pa

from fer_core.labels import EXPRESSIONS

SCHEMA_VERSION: Final = 1

TIMESTAMP: Final = pa.timestamp("us", "UTC")

POINT_NAMES: Final[tuple[str, ...]] = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")

LABELED, NO_FACE, UNREADABLE, TOO_LARGE = "labeled", "no_face", "unreadable", "too_large"
UNSUPPORTED, MISSING, CRASHED = "unsupported", "missing", "crashed"
IMAGE_STATUSES: Final[tuple[str, ...]] = (LABELED, NO_FACE, UNREADABLE, TOO_LARGE, UNSUPPORTED, MISSING, CRASHED)
QUARANTINE: Final[tuple[str, ...]] = (UNREADABLE, TOO_LARGE, UNSUPPORTED, MISSING, CRASHED)
"""Statuses of images that could not be processed."""


def _schema(fields: list[tuple[str, pa.DataType, str]]) -> pa.Schema:
    """Nullable fields with ids from 1 in order of writing, and a description each."""
    return pa.schema(
        [
            pa.field(name, kind, nullable=True, metadata={"PARQUET:field_id": str(number), "description": text})
            for number, (name, kind, text) in enumerate(fields, start=1)
        ]
    )


_POINTS = [
    (f"{name}_{axis}", pa.float32(), f"{name.replace('_', ' ')}, {axis} in pixels of the upright image")
    for name in POINT_NAMES
    for axis in "xy"
]

LABELS: Final[pa.Schema] = _schema(
    [
        ("face_id", pa.string(), "digest of image content, face index and pipeline: the same face under the same pipeline"),
        ("image_uri", pa.string(), "where the image was read: the fsspec path, verbatim"),
        ("image_sha256", pa.string(), "digest of the image's bytes"),
        ("face_index", pa.int32(), "number of the face in its image, from 0, by falling detection score"),
        ("box_x", pa.float32(), "left edge of the face box, pixels of the upright image, origin top left"),
        ("box_y", pa.float32(), "top edge of the face box"),
        ("box_w", pa.float32(), "width of the face box"),
        ("box_h", pa.float32(), "height of the face box"),
        ("detection_score", pa.float32(), "detector confidence in [0, 1]"),
        *_POINTS,
        ("face_size_px", pa.float32(), "geometric mean of box width and height"),
        ("sharpness", pa.float32(), "0 blurred to 1 sharp, independent of face size"),
        ("yaw_deg", pa.float32(), "head turn, positive towards the right edge of the image"),
        ("pitch_deg", pa.float32(), "head nod, positive upwards"),
        ("roll_deg", pa.float32(), "head tilt, positive clockwise as seen"),
        ("expression", pa.string(), "apparent expression with the largest probability"),
        ("confidence", pa.float32(), "that probability"),
        *((f"p_{name}", pa.float32(), f"calibrated probability of {name}, four decimals") for name in EXPRESSIONS),
        ("entropy", pa.float32(), "Shannon entropy of the probabilities over ln 8: 0 certain, 1 ignorant"),
        (
            "needs_review",
            pa.bool_(),
            "a person should look: the network is unsure, or the face small, blurred, badly lit or turned",
        ),
        ("model_name", pa.string(), "name on the model's card"),
        ("model_digest", pa.string(), "digest of the model's weights"),
        ("detector", pa.string(), "identity of the detector, with its file's digest and thresholds"),
        ("pipeline_digest", pa.string(), "digest of everything that can change an answer"),
        ("run_id", pa.string(), "the run that wrote the row"),
        ("labeled_at", TIMESTAMP, "when the run that made the row was planned"),
        ("novelty", pa.float32(), "how unlike the faces of training the face is, in [0, 1]; null where the model does not say it"),
    ]
)

IMAGES: Final[pa.Schema] = _schema(
    [
        ("image_uri", pa.string(), "where the image was listed: the fsspec path, verbatim"),
        ("image_sha256", pa.string(), "digest of its bytes; null where they could not be read"),
        ("bytes", pa.int64(), "size in the listing"),
        ("etag", pa.string(), "entity tag in the listing, where the store has one"),
        ("modified_at", TIMESTAMP, "modification time in the listing"),
        ("width", pa.int32(), "pixels, upright"),
        ("height", pa.int32(), "pixels, upright"),
        ("status", pa.string(), "what became of it: " + ", ".join(IMAGE_STATUSES)),
        ("reason", pa.string(), "why, in plain words, when it is neither labeled nor no_face"),
        ("n_faces", pa.int32(), "faces labelled in it"),
        ("pipeline_digest", pa.string(), "digest of everything that can change an answer"),
        ("run_id", pa.string(), "the run that wrote the row"),
        ("seen_at", TIMESTAMP, "when the run that made the row was planned"),
        (
            "phash",
            pa.string(),
            "perceptual hash, 16 hexadecimal digits: few bits differ between pictures that look alike; null if not decoded",
        ),
    ]
)

FACES: Final[pa.Schema] = _schema(
    [
        ("face_id", pa.string(), "as in labels"),
        ("image_uri", pa.string(), "as in labels"),
        ("image_sha256", pa.string(), "as in labels"),
        ("face_index", pa.int32(), "as in labels"),
        ("crop_png", pa.binary(), "aligned 112x112 RGB face, PNG"),
        ("detector", pa.string(), "as in labels"),
        ("pipeline_digest", pa.string(), "as in labels"),
        ("run_id", pa.string(), "as in labels"),
    ]
)

SCHEMAS: Final = {"labels": LABELS, "images": IMAGES, "faces": FACES}
"""Of the tables, by name."""

ADDED: Final = frozenset({"novelty", "phash"})
"""Columns that came after the first release, each of one table. Parts that earlier releases wrote lack them; there they are null."""


def with_added(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows as an earlier release may have written them, with nulls in the columns of `schema` that it did not know."""
    for field in schema:
        if field.name in ADDED and field.name not in rows.column_names:
            rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    return rows


def is_released(found: pa.Schema, schema: pa.Schema) -> bool:
    """Whether a part has the columns that this or an earlier release gives the table of `schema`, in their order and types."""
    then, later = pa.schema(list(schema)[: len(found)]), schema.names[len(found) :]
    return found.equals(then, check_metadata=True) and ADDED.issuperset(later)


INVENTORY: Final[pa.Schema] = pa.schema(
    [("image_uri", pa.string()), ("bytes", pa.int64()), ("etag", pa.string()), ("modified_at", TIMESTAMP)]
)
"""One row a listed image, sorted by URI, no URI twice."""

EARLIER: Final = (pa.field("earlier_part", pa.string()), pa.field("failed_before", pa.bool_()), pa.field("earlier_uri", pa.string()))
"""What a plan knows of earlier runs."""

CANDIDATES: Final[pa.Schema] = pa.schema([*INVENTORY, *EARLIER])
"""Listed images that are new or have changed.

`earlier_part`: the images part with the latest result of the same pipeline for the URI, which is reused if the content is the same; null
where there is none. `failed_before`: whether its latest result, of any pipeline, is in `QUARANTINE`; null means no.
`earlier_uri`: of an image that is new, but may be a copy: the URI under which that result is; null where it is its own."""

PLAN: Final[pa.Schema] = pa.schema([*INVENTORY, pa.field("shard", pa.int32()), *EARLIER])
"""The images a run will read, each with the number of its shard, by rising shard and, but for copies, by URI."""
