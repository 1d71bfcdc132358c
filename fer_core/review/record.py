"""Schema of a review: a reviewer's verdict on one face, its time, and the label that was reviewed. Version 1 of `_meta/reviews`."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from fer_core.tables.schema import TIMESTAMP

REVIEWS_VERSION: Final = 1

_FIELDS: Final = (
    ("image_sha256", pa.string(), "digest of the image's bytes: with the box it says which face"),
    ("image_uri", pa.string(), "where the image was when the face was shown"),
    ("box_x", pa.float32(), "left edge of the face box, pixels of the upright image, origin top left"),
    ("box_y", pa.float32(), "top edge of the face box"),
    ("box_w", pa.float32(), "width of the face box"),
    ("box_h", pa.float32(), "height of the face box"),
    ("verdict", pa.string(), "one of the eight expressions, `not_a_face` or `unsure`"),
    ("previous_expression", pa.string(), "the label that was reviewed"),
    ("previous_model", pa.string(), "digest of the model that gave it"),
    ("reviewer", pa.string(), "who said it"),
    ("reviewed_at", TIMESTAMP, "when it was said"),
    ("imported_at", TIMESTAMP, "when it came in"),
    ("export_id", pa.string(), "the export in which the face was shown"),
    ("source_sha256", pa.string(), "digest of the file it came in"),
)

REVIEWS: Final[pa.Schema] = pa.schema(
    [
        pa.field(name, kind, nullable=True, metadata={"PARQUET:field_id": str(number), "description": text})
        for number, (name, kind, text) in enumerate(_FIELDS, start=1)
    ]
)
"""One row per review. The schema is fixed and all fields are nullable; a field id never changes its meaning."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One validated row of an imported file."""

    image_sha256: str
    image_uri: str
    box: tuple[float, float, float, float]
    """x, y, width, height, pixels of the upright image."""
    verdict: str
    """One of `verdicts.VERDICTS`."""
    previous_expression: str
    previous_model: str
    reviewer: str
    reviewed_at_us: int
    """Microseconds since the epoch, UTC."""
    export_id: str
