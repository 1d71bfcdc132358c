"""The gallery as one PNG: annotated photographs with the faces' probabilities beside and below them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from fer_core.commit.manifest import Manifest
from fer_core.gallery.drawing import CARD, INK, MAT, PAGE, SOFT, WARN, bar, truncate_to_width, width, write
from fer_core.gallery.label_placement import COLOURS, LabelBox
from fer_core.gallery.photo import GalleryPhoto
from fer_core.gallery.sheet_cell import CELL_HEIGHT, CELL_WIDTH, Cell, draw_cell
from fer_core.gallery.sheet_photo import draw_photo
from fer_core.gallery.text import LAW, counted, dimensions, facts, headline
from fer_core.labels import EXPRESSIONS

PICTURES: Final = 6
"""Photographs on the sheet at most."""
FACES: Final = 18
"""Faces of one photograph that get bars at most."""

_WIDTH, _MARGIN, _GAP = 1840, 48, 28
_INNER: Final = _WIDTH - 2 * _MARGIN
_HEAD, _TITLE, _FOOT = 236, 54, 76
_PHOTO_HEIGHT, _PHOTO_SCALE = 720, 1.5
"""Highest photograph, and how much a small one may be enlarged."""
_ZOOMED: Final = 1.75
"""One or two faces are drawn so much larger."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """How a picture is arranged, pixels below its top left corner."""

    photo: tuple[int, int]
    """Width and height."""
    mat: int
    """Width of the ground in the middle of which the photograph stands."""
    cells: tuple[Cell, ...]
    height: int


def draw_sheet(manifest: Manifest, pictures: Sequence[GalleryPhoto]) -> bytes:
    """The sheet as an encoded PNG: the first `PICTURES` pictures."""
    shown = pictures[:PICTURES]
    slots = [_slot(picture) for picture in shown]
    height = _HEAD + sum(slot.height + _GAP for slot in slots) + _FOOT
    sheet = Image.new("RGB", (_WIDTH, height), PAGE)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, manifest)
    top = _HEAD
    for picture, slot in zip(shown, slots, strict=True):
        _draw_plate(sheet, picture, slot, top)
        top += slot.height + _GAP
    if len(pictures) > len(shown):
        write(draw, (_MARGIN, top), f"The page shows {counted(len(pictures) - len(shown), 'more picture')}.", 16, SOFT)
    write(draw, (_MARGIN, height - 46), f"{LAW[0]} Faces are biometric data: protect this image like the photographs.", 15, SOFT)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _slot(picture: GalleryPhoto) -> _Slot:
    """Faces stand beside the photograph, in the middle of its height; those without room there stand in rows below."""
    count = min(len(picture.verdicts), FACES)
    columns, zoom = _columns(picture, count)
    step, row = (CELL_WIDTH + _GAP) * zoom, CELL_HEIGHT * zoom
    mat = int(_INNER - columns * step)
    photo = _photo_size(picture, mat)
    beside = min(count, columns * max(1, int(photo[1] // row))) if columns else 0
    used = row * -(-beside // columns) if columns else 0.0
    top = _TITLE + max(0.0, photo[1] - used + 12 * zoom) / 2
    cells = [Cell(mat + _GAP * zoom + n % columns * step, top + n // columns * row, zoom) for n in range(beside)]
    below, across = _TITLE + max(photo[1], int(used)) + 24, _INNER // (CELL_WIDTH + _GAP)
    cells += [Cell(n % across * (CELL_WIDTH + _GAP), below + n // across * CELL_HEIGHT, 1.0) for n in range(count - beside)]
    rows = -(-(count - beside) // across)
    more = 34 if len(picture.verdicts) > FACES else 0
    return _Slot(photo, mat, tuple(cells), below - 8 + rows * CELL_HEIGHT + more)


def _columns(picture: GalleryPhoto, count: int) -> tuple[int, float]:
    """How many columns of faces stand beside the photograph, and how large: the first way in which all have room."""
    if count == 0:
        return 0, 1.0
    for columns, zoom in ((1, _ZOOMED), (1, 1.0)):
        photo = _photo_size(picture, int(_INNER - columns * (CELL_WIDTH + _GAP) * zoom))
        if count * CELL_HEIGHT * zoom <= photo[1]:
            return columns, zoom
    return (1 if count == 1 else 2), 1.0


def _photo_size(picture: GalleryPhoto, room: int) -> tuple[int, int]:
    """Width and height of the photograph, or of the note in its place."""
    if picture.note:
        return room, 120
    height, wide = picture.pixels.shape[:2]
    scale = min(room / wide, _PHOTO_HEIGHT / height, _PHOTO_SCALE)
    return max(1, round(wide * scale)), max(1, round(height * scale))


def _draw_head(draw: ImageDraw.ImageDraw, manifest: Manifest) -> None:
    write(draw, (_MARGIN, 36), headline(manifest), 40)
    told = [f"{name.lower()} {value}" for name, value in facts(manifest) if name not in {"Source", "Committed"}]
    write(draw, (_MARGIN, 90), truncate_to_width("  ·  ".join(told), 15, _INNER), 15, SOFT)
    step = (_INNER + 20) / len(EXPRESSIONS)
    for number, name in enumerate(EXPRESSIONS):
        x, count = _MARGIN + number * step, manifest.expressions.get(name, 0)
        colour = INK if count else SOFT
        write(draw, (x, 134), f"{count:,}", 26, colour)
        write(draw, (x, 166), name, 16, colour)
        bar(draw, LabelBox(x, 194, step - 20, 10), count / max(1, manifest.faces), COLOURS[name])


def _draw_plate(sheet: Image.Image, picture: GalleryPhoto, slot: _Slot, top: int) -> None:
    draw = ImageDraw.Draw(sheet)
    draw.rounded_rectangle((_MARGIN - 16, top, _WIDTH - _MARGIN + 16, top + slot.height), 14, CARD)
    name = truncate_to_width(picture.name, 20, 1000)
    write(draw, (_MARGIN, top + 15), name, 20)
    told = f"{dimensions(picture)}  ·  {counted(len(picture.verdicts), 'face')}"
    write(draw, (_MARGIN + width(name, 20) + 16, top + 19), told, 15, SOFT)
    if picture.note:
        write(draw, (_MARGIN, top + 96), f"The photograph cannot be shown: {picture.note}.", 18, WARN)
    else:
        draw.rectangle((_MARGIN, top + _TITLE, _MARGIN + slot.mat - 1, top + _TITLE + slot.photo[1] - 1), MAT)
        sheet.paste(draw_photo(picture, slot.photo), (_MARGIN + (slot.mat - slot.photo[0]) // 2, top + _TITLE))
    for index, cell in enumerate(slot.cells):
        draw_cell(sheet, picture, index, Cell(_MARGIN + cell.x, top + cell.y, cell.zoom))
    if len(picture.verdicts) > FACES:
        write(draw, (_MARGIN, top + slot.height - 34), f"and {counted(len(picture.verdicts) - FACES, 'more face')}", 15, SOFT)
