"""One photograph of the gallery, read again, with what a run found in it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.align.aligner import align
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.errors import AccessError, ImageError, StoreError
from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.text import counted, percent
from fer_core.labels import EXPRESSIONS
from fer_core.run.configuration import RunConfig
from fer_core.storage.store import read_uri
from fer_core.tables.schema import MISSING, POINT_NAMES
from fer_core.types import CROP_SIZE, Faces, Picture

PHOTO_SIDE: Final = 1280
"""Longest side of a photograph as it is shown, pixels."""


@dataclass(frozen=True, slots=True)
class GalleryFace:
    """One face and its label."""

    index: int
    """`face_index`."""
    expression: str
    confidence: float
    probabilities: tuple[float, ...]
    """In the order of `labels.EXPRESSIONS`."""
    needs_review: bool
    pose: str
    """Size and head pose: `142 px · yaw 12° · pitch -4° · roll 2°`."""

    @property
    def title(self) -> str:
        """`happiness 87 %`."""
        return f"{self.expression} {percent(self.confidence)}"

    @property
    def colour(self) -> str:
        """Of the expression."""
        return COLOURS.get(self.expression, COLOURS["neutral"])


@dataclass(frozen=True, slots=True)
class GalleryPhoto:
    """One photograph as it is shown, N faces."""

    uri: str
    note: str
    """Why the photograph cannot be shown; empty when it can."""
    size: tuple[int, int]
    """Width and height of the photograph itself, pixels; zeros when unknown."""
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, `PHOTO_SIDE` at most; (0, 0, 3) when it cannot be shown."""
    boxes: NDArray[np.float32]
    """(N, 4) x0, y0, x1, y1 in these pixels."""
    points: NDArray[np.float32]
    """(N, 5, 2) in these pixels."""
    crops: NDArray[np.uint8]
    """(N, 112, 112, 3) RGB, the network's input; (0, ...) when the photograph cannot be shown."""
    faces: tuple[GalleryFace, ...]

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return self.uri.rstrip("/").rpartition("/")[2] or self.uri

    @property
    def details(self) -> str:
        """`1,280 x 886 · 6 faces`."""
        size = f"{self.size[0]:,} x {self.size[1]:,}" if all(self.size) else "size unknown"
        return f"{size} · {counted(len(self.faces), 'face')}"


def load_photo(image: Mapping[str, Any], labels: pa.Table, config: RunConfig) -> GalleryPhoto:
    """Read a photograph again and fit its labels to it.

    image: one row of the images table. labels: its rows of the labels table. A photograph that has moved, changed or cannot be read has a
    note in its place, so that no boxes stand on another picture.
    """
    try:
        picture = read_labelled(image, DecodeLimits(max_bytes=config.max_bytes, max_pixels=config.max_pixels))
    except (ImageError, StoreError) as error:
        return blank_photo(image["image_uri"], (image["width"] or 0, image["height"] or 0), labels, str(error))
    return labelled_photo(image["image_uri"], picture, labels)


def labelled_photo(uri: str, picture: Picture, labels: pa.Table) -> GalleryPhoto:
    """A photograph, decoded in full, with its rows of the labels table."""
    faces = _faces(labels)
    scale = min(1.0, PHOTO_SIDE / max(picture.width, picture.height))
    return GalleryPhoto(
        uri=uri,
        note="",
        size=(picture.width, picture.height),
        pixels=_scaled(picture.pixels, scale),
        boxes=faces.boxes * np.float32(scale),
        points=faces.points * np.float32(scale),
        crops=align(picture.pixels, faces),
        faces=tuple(_face(row) for row in labels.to_pylist()),
    )


def blank_photo(uri: str, size: tuple[int, int], labels: pa.Table, note: str) -> GalleryPhoto:
    """One that cannot be shown, and why. size: width and height, zeros when unknown."""
    nothing = Faces.none()
    crops = np.zeros((0, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    pixels = np.zeros((0, 0, 3), np.uint8)
    faces = tuple(_face(row) for row in labels.to_pylist())
    return GalleryPhoto(uri, note, size, pixels, nothing.boxes, nothing.points, crops, faces)


def read_labelled(row: Mapping[str, Any], limits: DecodeLimits) -> Picture:
    """The photograph of a row, if its bytes are those that were labelled and can be decoded; ImageError otherwise. StoreError.

    row: of images or labels. A row without a digest, or with another one, shows nothing of the file that it names: it may be forged.
    """
    try:
        data = read_uri(row["image_uri"], limits.max_bytes)
    except AccessError:  # of a public bucket, perhaps
        data = read_uri(row["image_uri"], limits.max_bytes, anonymous=True)
    if hashlib.sha256(data).hexdigest() != row["image_sha256"]:
        raise ImageError(MISSING, "the file has changed since it was labelled")
    return decode(data, limits)


def _faces(labels: pa.Table) -> Faces:
    boxes = np.stack([labels[f"box_{name}"].to_numpy() for name in "xywh"], axis=1).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2]
    points = np.stack([labels[f"{name}_{axis}"].to_numpy() for name in POINT_NAMES for axis in "xy"], axis=1).astype(np.float32)
    return Faces(boxes, points.reshape(-1, 5, 2), labels["detection_score"].to_numpy().astype(np.float32))


def _face(row: Mapping[str, Any]) -> GalleryFace:
    angles = (f"{name} {round(row[f'{name}_deg'])}°" for name in ("yaw", "pitch", "roll"))
    return GalleryFace(
        index=row["face_index"],
        expression=row["expression"],
        confidence=row["confidence"],
        probabilities=tuple(row[f"p_{name}"] for name in EXPRESSIONS),
        needs_review=bool(row["needs_review"]),
        pose=" · ".join((f"{row['face_size_px']:.0f} px", *angles)),
    )


def _scaled(pixels: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1.0:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
