"""Reviewed faces as a face set: the faces that a person gave an expression, framed as labelling framed them.

Crops come from the runs that kept them, else out of the photographs by the five points of the label. A face set of its own, to be joined
with others (`faceset.split.join`) or trained on alone.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.align.aligner import align_one
from fer_core.commit.reader import purposes_of
from fer_core.decode.crop_image import colour_crop
from fer_core.errors import FaceSetError, ImageError
from fer_core.faceset import VOTE_COLUMNS, FaceSetCard, Row
from fer_core.faceset.staging import publish, staged
from fer_core.faceset.writer import FaceSetWriter
from fer_core.labels import EXPRESSIONS
from fer_core.outputs.registry import register_output
from fer_core.review.attach import NOWHERE
from fer_core.review.pictures import Key, crop_key, kept_crops, photograph
from fer_core.review.reviewed import ReviewedFaces, reviewed_faces
from fer_core.storage.store import Store
from fer_core.tables.schema import POINT_NAMES

NAME: Final = "reviewed"
HELD_OUT_FIRST: Final = ("test", "valid", "train")


@dataclass(frozen=True, slots=True)
class Shares:
    """What part of the images is held out. Which ones hangs on their digests alone."""

    valid: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        if not (self.valid >= 0 and self.test >= 0 and self.valid + self.test < 1):
            raise ValueError("shares must not be negative and must leave training faces")

    def split_of(self, image_sha256: str) -> str:
        """The split of every face of an image."""
        drawn = int(hashlib.sha256(f"split/{image_sha256}".encode()).hexdigest()[:8], 16) / 2**32
        return "test" if drawn < self.test else "valid" if drawn < self.test + self.valid else "train"


@dataclass(frozen=True, slots=True)
class ReviewedSet:
    """What became of the reviewed faces."""

    card: FaceSetCard
    reviewed: int
    """Faces with a verdict."""
    no_expression: int
    """Left out: the verdict names no expression."""
    orphans: int
    """Left out: no current label is about them."""
    gone: int
    """Left out: neither photograph nor crop is there."""


@dataclass(frozen=True, slots=True)
class _Framed:
    """An aligned face."""

    png: bytes
    picture: str
    """Digest of shape and pixels: of the photograph where it shows this face alone, as in every face set; else of the crop."""


def import_reviewed(
    store: Store,
    to: Path,
    shares: Shares | None = None,
    progress: Callable[[str, int], None] = lambda doing, done: None,
    kind: Literal["faceset", "reviewed"] = "faceset",
) -> ReviewedSet:
    """Write the face set `to`; one that was there is replaced. progress: called with `aligned` and their number. kind: in the
    registry of outputs.

    All faces of an image go to one split, whatever its name. A picture that is pixel for pixel in another split, too, is left out: training
    gives way to held-out faces. FaceSetError where no reviewed face can be used, ReviewError where the history is damaged.
    """
    faces, parts = reviewed_faces(store), shares or Shares()
    usable = [row for row in range(len(faces)) if faces.attached[row] != NOWHERE and faces.verdicts[row] in EXPRESSIONS]
    if not usable:
        raise FaceSetError(f"no face under {store.url()} has a reviewed expression yet")
    splits = {row: parts.split_of(faces.image_sha256[row]) for row in usable}
    usable.sort(key=lambda row: HELD_OUT_FIRST.index(splits[row]))
    register_output(store, str(to), kind)
    with staged(to) as partial:
        card = _write(faces, partial, splits, _framed(store, faces, usable), progress)
        if not sum(card.counts.values()):
            raise FaceSetError(f"the images of all {len(usable)} reviewed faces under {store.url()} are missing")
        runs = {faces.labels["run_id"][int(faces.attached[row])].as_py() for row in usable}
        card = replace(card, purposes=purposes_of(store, runs), origin=store.url())
        publish(partial, card)
    orphans = len(faces.orphans)
    return ReviewedSet(card, len(faces), len(faces) - len(usable) - orphans, orphans, card.undecodable)


def _write(
    faces: ReviewedFaces,
    folder: Path,
    splits: Mapping[int, str],
    framed: Iterable[tuple[int, "_Framed | None"]],
    progress: Callable[[str, int], None],
) -> FaceSetCard:
    """The splits, held-out ones first, and the card that would make them a face set."""
    split_with: dict[str, str] = {}
    gone = duplicates = 0
    detectors = sorted({faces.labels["detector"][int(faces.attached[row])].as_py() for row in splits})
    with FaceSetWriter(folder) as writer:
        for done, (row, face) in enumerate(framed, start=1):
            progress("aligned", done)
            if face is None:
                gone += 1
            elif split_with.setdefault(face.picture, splits[row]) != splits[row]:
                duplicates += 1
            else:
                writer.add(_row(faces, row, splits[row], face))
        card = FaceSetCard(NAME, "single", (), " + ".join(detectors), {}, duplicates, 1.0, undecodable=gone)
        return writer.finish(card)


def _framed(store: Store, faces: ReviewedFaces, usable: list[int]) -> Iterator[tuple[int, _Framed | None]]:
    """The aligned face of each usable row, in their order; None where there is no picture of it."""
    labels = faces.labels.take(pa.array(faces.attached[usable], pa.int64()))
    crops = kept_crops(store, labels)
    faces_in = Counter(faces.labels["image_sha256"].to_pylist())
    for row, label in zip(usable, labels.to_pylist(), strict=True):
        yield row, _frame(label, crops, faces_in[label["image_sha256"]] == 1)


def _frame(label: dict[str, Any], crops: dict[Key, bytes], alone: bool) -> _Framed | None:
    crop = crops.get(crop_key(label))
    pixels = photograph(label) if crop is None or alone else None
    if crop is None:
        if pixels is None:
            return None
        crop = _png(align_one(pixels, _points(label)))
    whole = pixels if alone and pixels is not None else _pixels(crop)
    return None if whole is None else _Framed(crop, _digest(whole))


def _points(label: dict[str, Any]) -> NDArray[np.float32]:
    return np.array([[label[f"{name}_x"], label[f"{name}_y"]] for name in POINT_NAMES], np.float32)


def _png(crop: NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))
    if not done:
        raise FaceSetError("a face could not be encoded as PNG")
    return bytes(data.tobytes())


def _pixels(crop: bytes) -> NDArray[np.uint8] | None:
    try:
        return colour_crop(crop)
    except ImageError:
        return None


def _digest(pixels: NDArray[np.uint8]) -> str:
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def _row(faces: ReviewedFaces, row: int, split: str, framed: _Framed) -> Row:
    """A row of `faceset.schema.SCHEMA`."""
    box = ",".join(f"{value:g}" for value in faces.boxes[row].tolist())
    return {
        "sample_id": f"{faces.image_sha256[row]}/{box}",
        "source": NAME,
        "split": split,
        "group": faces.image_sha256[row],
        "picture": framed.picture,
        "framing": "points",
        "label": faces.verdicts[row],
        **dict.fromkeys(VOTE_COLUMNS),
        "crop": framed.png,
    }
