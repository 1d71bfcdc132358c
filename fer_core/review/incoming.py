"""A file of reviews comes in: checked whole, then kept, then laid beside the current labels."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.deny_list import read_deny_list
from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.errors import ReviewError
from fer_core.review.attach import NOWHERE, attach
from fer_core.review.corrections import LARGEST, read_corrections
from fer_core.review.history import as_table, is_imported, record
from fer_core.review.present import boxes_of, present_labels
from fer_core.review.record import Correction
from fer_core.storage.store import Store
from fer_core.tables.schema import IMAGES

_DIGESTS: Final = pa.schema([IMAGES.field("image_sha256")])


@dataclass(frozen=True, slots=True)
class Orphan:
    """A review whose face no current label is about."""

    image_uri: str
    box: tuple[float, float, float, float]
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReviewImport:
    """What came in."""

    reviews: int
    """In the file."""
    new: int
    """That the history did not have."""
    changed: int
    """Of the file's, those whose verdict differs from the label."""
    attached: int
    """Of the file's, those whose face has a current label."""
    orphans: tuple[Orphan, ...]
    already_imported: bool
    """Whether a file of the same bytes came in before; then nothing was written."""


def import_reviews(store: Store, file: Path, reviewer: str | None = None) -> ReviewImport:
    """Import a corrections file or Label Studio's export. reviewer: replaces the file's reviewer.

    Nothing is written where anything is invalid, or where the file is about none of the root's images. A file that came in already changes
    nothing. ReviewError, CommitError, StoreError.
    """
    data = _bytes(file)
    corrections = _allowed(store, read_corrections(data, file.name, reviewer))
    attached, orphans = _attached(store, corrections, file.name)
    again = is_imported(store, data)
    new = 0 if again else record(store, corrections, data, time.time_ns() // 1000).num_rows
    changed = sum(row.verdict != row.previous_expression for row in corrections)
    return ReviewImport(len(corrections), new, changed, attached, orphans, again)


def _allowed(store: Store, corrections: list[Correction]) -> list[Correction]:
    """Reviews of images and faces that were not forgotten."""
    deny = read_deny_list(store)
    if deny.empty or not corrections:
        return corrections
    rows = as_table(corrections)
    gone = pc.or_(deny.denies(rows), deny.denied_faces(rows)).to_pylist()
    return [row for row, left_out in zip(corrections, gone, strict=True) if not left_out]


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > LARGEST:
            raise ReviewError(f"{file.name} is too large: more than {LARGEST:,} bytes")
        return file.read_bytes()
    except OSError as error:
        raise ReviewError(f"cannot read {file} ({str(error.strerror).lower()})") from error


def _attached(store: Store, corrections: list[Correction], name: str) -> tuple[int, tuple[Orphan, ...]]:
    """How many faces have a current label, and those that have none. ReviewError where no image is known here."""
    faces = list(dict.fromkeys((row.image_sha256, row.box) for row in corrections))
    images = [image for image, _ in faces]
    with present_labels(store) as present:
        labels = present.of_images(set(images))
    there = set(labels["image_sha256"].to_pylist())
    if not there and not _ever_known(store, set(images)):
        raise ReviewError(f"{name} is about none of the images under {store.url()}: it was exported from other labels")
    boxes = np.array([box for _, box in faces], np.float32).reshape(-1, 4)
    found = attach(images, boxes, labels["image_sha256"].to_pylist(), boxes_of(labels))
    place = dict(zip(faces, found.tolist(), strict=True))
    orphans = tuple(_orphan(row, there) for row in corrections if place[row.image_sha256, row.box] == NOWHERE)
    return len(corrections) - len(orphans), orphans


def _orphan(row: Correction, there: set[str]) -> Orphan:
    reason = "no face is detected there any more" if row.image_sha256 in there else "the image has changed or has no labels any more"
    return Orphan(row.image_uri, row.box, row.verdict, reason)


def _ever_known(store: Store, images: set[str]) -> bool:
    """Whether any committed run processed one of these images."""
    for run_id in committed_runs(store):
        for part in read_manifest(store, run_id).parts_of("images"):
            digests = read_part(store, part, _DIGESTS, run_id)["image_sha256"]
            if images & set(digests.to_pylist()):
                return True
    return False
