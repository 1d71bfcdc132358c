"""Faces of a face set as the review page shows them, and which of them a correction is about."""

import hashlib
import re
from collections.abc import Sequence
from typing import Final

from fer_core.faceset import Row
from fer_core.gallery.templates import data_uri
from fer_core.labels import EXPRESSIONS
from fer_core.review.shown import ShownFace
from fer_core.types import CROP_SIZE

Box = tuple[float, float, float, float]

REVIEWED: Final = "reviewed"
"""`source` of faces that came from the reviews of a labels root; `sample_id` names their image and box."""
_SAMPLE: Final = re.compile(r"([0-9a-f]{64})/([0-9.e+-]+),([0-9.e+-]+),([0-9.e+-]+),([0-9.e+-]+)")


def face_key(row: Row) -> tuple[str, Box]:
    """Digest and box by which a correction names a face of a set, `faceset.schema.SCHEMA`.

    Of a reviewed face its image's, so that the labels root takes the correction, too; else those of the stored crop.
    """
    named = _SAMPLE.fullmatch(row["sample_id"]) if row["source"] == REVIEWED else None
    if named is not None:
        x, y, width, height = (float(value) for value in named.groups()[1:])
        return named[1], (x, y, width, height)
    return hashlib.sha256(row["crop"]).hexdigest(), (0.0, 0.0, float(CROP_SIZE), float(CROP_SIZE))


def shown_face(row: Row, given: str, probabilities: Sequence[float], model: tuple[str, str], reason: str) -> ShownFace:
    """A face of a set with its given label as the current one. model: name and digest."""
    digest, box = face_key(row)
    return ShownFace(
        image_sha256=digest,
        image_uri=row["sample_id"],
        box=box,
        expression=given,
        confidence=probabilities[EXPRESSIONS.index(given)],
        probabilities=tuple(probabilities),
        model_name=model[0],
        model_digest=model[1],
        reasons=(reason,),
        picture=data_uri(row["crop"], "png"),
        frame=None,
    )
