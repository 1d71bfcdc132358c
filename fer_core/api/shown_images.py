"""Rows of faces -> their pictures with boxes, as a notebook shows them."""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final, overload

import pyarrow as pa
from markupsafe import escape
from PIL import Image

from fer_core.api.image_input import GivenImage, each_image
from fer_core.api.label_rows import IMAGE
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.errors import ImageError, StoreError, UsageError
from fer_core.gallery.annotations import annotate
from fer_core.gallery.drawn_photo import draw_photo
from fer_core.gallery.photo import GalleryPhoto, blank_photo, labelled_photo, read_labelled
from fer_core.gallery.text import counted
from fer_core.labels import EXPRESSIONS
from fer_core.tables.schema import LABELED, LABELS, MISSING, NO_FACE, POINT_NAMES
from fer_core.text import visible
from fer_core.types import Picture

if TYPE_CHECKING:
    from pandas import DataFrame

LIMIT: Final = 12
"""Pictures."""
NAMED_FACES: Final = 4
"""Of one image, in words; of more, expressions are counted."""
SIDE, ENLARGED = 800, 2.0
"""Longest side of a picture, and how much a small one is enlarged."""
_FACE: Final = (
    "face_index",
    *(f"box_{name}" for name in "xywh"),
    "detection_score",
    *(f"{name}_{axis}" for name in POINT_NAMES for axis in "xy"),
    "face_size_px",
    *(f"{name}_deg" for name in ("yaw", "pitch", "roll")),
    "expression",
    "confidence",
    *(f"p_{name}" for name in EXPRESSIONS),
    "needs_review",
)
_SCHEMA: Final = pa.schema([LABELS.field(name) for name in _FACE])


@dataclass(frozen=True, slots=True, repr=False)
class ShownImages(Sequence[Image.Image]):
    """Pictures with boxes. A notebook shows them; elsewhere they are a sequence of PIL images whose `repr` says what is in them."""

    pictures: tuple[Image.Image, ...]
    photos: tuple[GalleryPhoto, ...]
    """As many. Of one with a `note` the picture is empty."""
    left_out: int
    """Images beyond the limit."""

    def __len__(self) -> int:
        return len(self.pictures)

    @overload
    def __getitem__(self, index: int) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image.Image]: ...
    def __getitem__(self, index: int | slice) -> Image.Image | Sequence[Image.Image]:
        return self.pictures[index]

    def __repr__(self) -> str:
        return "\n".join([*map(_line, self.photos), *self._rest()])

    def _repr_html_(self) -> str:
        """What Jupyter and its like call."""
        figures = (_figure(photo, picture) for photo, picture in zip(self.photos, self.pictures, strict=True))
        return "\n".join([*figures, *(f"<p>{line}</p>" for line in self._rest())])

    def _rest(self) -> Iterator[str]:
        if self.left_out:
            yield f"and {counted(self.left_out, 'more image')}"


def show(faces: "DataFrame | pa.Table", images: object = None, *, limit: int = LIMIT) -> ShownImages:
    """The pictures of some faces with boxes, points and expressions, drawn as in the gallery.

    faces: rows of `label_images`, `Labeler.label` or `read_labels`, or some of them. images: what `label_images` got, where that was pixels
    or bytes; files are read again from their addresses. limit: most pictures to draw.

    As the last expression of a cell, or with `display`, a notebook shows the pictures. The result is a sequence of PIL images; printed,
    it says in words what they show. An image that is gone, or is not the one that was labelled, has a line in its place.
    UsageError: columns are missing, or images that have no address.
    """
    frame = faces.to_pandas() if isinstance(faces, pa.Table) else faces
    missing = [name for name in ("image_uri", "image_sha256", *_FACE) if name not in frame.columns]
    if missing:
        raise UsageError(f"to be drawn, faces need the columns {', '.join(missing)}")
    if images is None:
        if frame["image_uri"].isna().any():
            raise UsageError("these faces have no address: give their images, too, as show(faces, images)")
        groups = frame.groupby(["image_uri", "image_sha256"], sort=False, dropna=False)
    else:
        if frame.index.name != IMAGE:
            raise UsageError("with images, the faces are those that label_images returned, with its index")
        groups = frame.groupby(level=IMAGE, sort=False)
    rows = [group for _, group in islice(groups, limit)]
    given = None if images is None else _given(images, [int(group.index[0]) for group in rows])
    photos = [_photo(group, None if given is None else given[int(group.index[0])]) for group in rows]
    return ShownImages(tuple(map(_drawn, photos)), tuple(photos), groups.ngroups - len(rows))


def _given(images: object, positions: Iterable[int]) -> dict[int, GivenImage]:
    wanted, found = set(positions), dict[int, GivenImage]()
    for position, image in enumerate(each_image(images)):
        if found.keys() == wanted:
            break
        if position in wanted:
            found[position] = image
    if found.keys() == wanted:
        return found
    raise UsageError(f"there is no image {min(wanted - set(found))} among those that were given")


def _photo(rows: "DataFrame", given: GivenImage | None) -> GalleryPhoto:
    first = rows.iloc[0]
    uri = first["image_uri"] if isinstance(first["image_uri"], str) else f"image {rows.index[0]}"
    labels = pa.Table.from_pandas(rows.loc[rows["face_index"].notna(), list(_FACE)], schema=_SCHEMA, preserve_index=False)
    if first.get("status", LABELED) not in (LABELED, NO_FACE):
        return blank_photo(uri, (0, 0), labels, str(first["reason"]))
    try:
        return labelled_photo(uri, _picture(uri, first["image_sha256"], given), labels)
    except (ImageError, StoreError) as error:
        return blank_photo(uri, (0, 0), labels, str(error))


def _picture(uri: str, digest: object, given: GivenImage | None) -> Picture:
    if given is None or given.uri is not None:
        return read_labelled({"image_uri": uri, "image_sha256": digest}, DecodeLimits())
    if hashlib.sha256(given.content).hexdigest() != digest:
        raise ImageError(MISSING, "another image was labelled")
    if given.pixels is None:
        return decode(given.content, DecodeLimits())
    height, width = given.pixels.shape[:2]
    return Picture(given.pixels, height, width)


def _drawn(photo: GalleryPhoto) -> Image.Image:
    if photo.note:
        return Image.new("RGB", (1, 1), "white")
    scale = min(SIDE / max(photo.pixels.shape), ENLARGED)
    return draw_photo(photo, annotate(photo, scale), scale)


def _line(photo: GalleryPhoto) -> str:
    titles = [face.title for face in photo.faces]
    if len(titles) > NAMED_FACES:
        titles = [f"{count} {name}" for name, count in Counter(face.expression for face in photo.faces).most_common()]
    return visible(f"{photo.name}: {photo.note or ', '.join([photo.details, *titles])}")


def _figure(photo: GalleryPhoto, picture: Image.Image) -> str:
    line = escape(_line(photo))
    if photo.note:
        return f"<p>{line}</p>"
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=88)
    source = f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
    return (
        f'<figure style="margin: 0 0 1em"><img src="{source}" style="max-width: 100%" alt="{line}"><figcaption>{line}</figcaption></figure>'
    )
