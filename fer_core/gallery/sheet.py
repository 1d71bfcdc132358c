"""The gallery as one PNG: annotated photographs with the faces' probabilities beside and below them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer_core.gallery.marks import Mark, marks
from fer_core.gallery.plate import Plate, Verdict
from fer_core.gallery.tags import COLOURS, Tag
from fer_core.gallery.text import LAW, counted, dimensions, facts, headline, look, percent
from fer_core.labels import EXPRESSIONS
from fer_core.manifest import Manifest

PICTURES: Final = 6
"""Photographs on the sheet at most."""
FACES: Final = 18
"""Faces of one photograph that get bars at most."""

_WIDTH, _MARGIN, _GAP, _TITLE = 1840, 48, 24, 54
_CELL_WIDTH, _CELL_HEIGHT = 380, 168
_PHOTO_HEIGHT, _PHOTO_SCALE = 720, 1.5
_PAGE, _CARD, _INK, _SOFT, _TRACK, _WARN = "#f6f5f2", "#ffffff", "#1c2128", "#5d6672", "#e9e7e1", "#9a5b00"
_FINE: Final = 2
"""Lines and points are drawn so many times larger and shrunk, which makes them smooth."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a plate's photograph and cells stand, pixels below the plate's top left corner."""

    photo: tuple[int, int]
    """Width and height."""
    cells: tuple[tuple[int, int], ...]
    """Top left corners."""
    height: int


def draw_sheet(manifest: Manifest, plates: Sequence[Plate]) -> bytes:
    """The sheet as an encoded PNG: the first `PICTURES` plates."""
    shown = plates[:PICTURES]
    slots = [_slot(plate) for plate in shown]
    head = 236
    height = head + sum(slot.height + _GAP for slot in slots) + 76
    sheet = Image.new("RGB", (_WIDTH, height), _PAGE)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, manifest)
    top = head
    for plate, slot in zip(shown, slots, strict=True):
        _draw_plate(sheet, draw, plate, slot, top)
        top += slot.height + _GAP
    if len(plates) > len(shown):
        _text(draw, (_MARGIN, top), f"and {len(plates) - len(shown)} more in the page", 16, _SOFT)
    _text(draw, (_MARGIN, height - 52), f"{LAW[0]} Faces are biometric data: keep this picture as carefully as the photographs.", 15, _SOFT)
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _slot(plate: Plate) -> _Slot:
    """Cells stand in one or two columns beside the photograph, in the middle of its height; what has no room there stands in rows below."""
    count = min(len(plate.verdicts), FACES)
    photo, columns = next(
        (photo, columns)
        for columns in (1, 2)
        for photo in (_photo_size(plate, _WIDTH - 2 * _MARGIN - columns * (_CELL_WIDTH + _GAP)),)
        if columns == 2 or count * _CELL_HEIGHT <= photo[1]
    )
    rows = max(1, photo[1] // _CELL_HEIGHT)
    beside = min(count, columns * rows)
    left = _WIDTH - 2 * _MARGIN - columns * (_CELL_WIDTH + _GAP) + _GAP
    top = _TITLE + max(0, photo[1] - -(-beside // columns) * _CELL_HEIGHT) // 2
    cells = [(left + number % columns * (_CELL_WIDTH + _GAP), top + number // columns * _CELL_HEIGHT) for number in range(beside)]
    below = _TITLE + max(photo[1], rows * _CELL_HEIGHT if beside else 0) + 24
    across = (_WIDTH - 2 * _MARGIN) // (_CELL_WIDTH + _GAP)
    cells += [(place % across * (_CELL_WIDTH + _GAP), below + place // across * _CELL_HEIGHT) for place in range(count - beside)]
    more = 34 if len(plate.verdicts) > FACES else 0
    return _Slot(photo, tuple(cells), below + -(-(count - beside) // across) * _CELL_HEIGHT + more - (0 if count > beside or more else 8))


def _photo_size(plate: Plate, room: int) -> tuple[int, int]:
    """Width and height of the photograph, or of the note in its place."""
    if plate.note:
        return room, 120
    height, width = plate.pixels.shape[:2]
    scale = min(room / width, _PHOTO_HEIGHT / height, _PHOTO_SCALE)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _draw_head(draw: ImageDraw.ImageDraw, manifest: Manifest) -> None:
    _text(draw, (_MARGIN, 36), headline(manifest), 40, _INK)
    told = [f"{name.lower()} {value}" for name, value in facts(manifest) if name not in {"Source", "Committed"}]
    _text(draw, (_MARGIN, 90), _fitted("  ·  ".join(told), 15, _WIDTH - 2 * _MARGIN), 15, _SOFT)
    step = (_WIDTH - 2 * _MARGIN) / len(EXPRESSIONS)
    for number, name in enumerate(EXPRESSIONS):
        x, count = _MARGIN + number * step, manifest.expressions.get(name, 0)
        _text(draw, (x, 134), f"{count:,}", 26, _INK if count else _SOFT)
        _text(draw, (x, 166), name, 16, _INK if count else _SOFT)
        _bar(draw, Tag(x, 194, step - 20, 10), count / max(1, manifest.faces), COLOURS[name])


def _draw_plate(sheet: Image.Image, draw: ImageDraw.ImageDraw, plate: Plate, slot: _Slot, top: int) -> None:
    draw.rounded_rectangle((_MARGIN - 16, top, _WIDTH - _MARGIN + 16, top + slot.height), 14, _CARD)
    name = _fitted(plate.name, 20, 900)
    _text(draw, (_MARGIN, top + 15), name, 20, _INK)
    _text(
        draw,
        (_MARGIN + _font(20).getlength(name) + 16, top + 19),
        f"{dimensions(plate)}  ·  {counted(len(plate.verdicts), 'face')}",
        15,
        _SOFT,
    )
    if plate.note:
        _text(draw, (_MARGIN, top + 78), "The photograph cannot be shown: " + plate.note, 18, _WARN)
    else:
        sheet.paste(_photo(plate, slot.photo), (_MARGIN, top + _TITLE))
    for index, (x, y) in enumerate(slot.cells):
        _draw_cell(sheet, draw, plate, index, (_MARGIN + x, top + y))
    if len(plate.verdicts) > FACES:
        text = f"and {len(plate.verdicts) - FACES:,} more faces in this photograph"
        _text(draw, (_MARGIN, top + slot.height - 34), text, 15, _SOFT)


def _photo(plate: Plate, size: tuple[int, int]) -> Image.Image:
    """The photograph at its size on the sheet, with everything drawn on it."""
    width = plate.pixels.shape[1]
    shrinks = size[0] < width
    pixels = np.asarray(cv2.resize(plate.pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)
    scale = np.float32(size[0] / width)
    drawn = marks(replace(plate, pixels=pixels, boxes=plate.boxes * scale, points=plate.points * scale), 1.0)
    fine = Image.new("RGBA", (size[0] * _FINE, size[1] * _FINE), (0, 0, 0, 0))
    lines = ImageDraw.Draw(fine)
    for mark in drawn:
        _draw_face(lines, mark)
    photo = Image.fromarray(pixels)
    photo.paste(fine.convert("RGB").resize(size, Image.Resampling.BOX), mask=fine.getchannel("A").resize(size, Image.Resampling.BOX))
    draw = ImageDraw.Draw(photo)
    for mark in drawn:
        _draw_tag(draw, mark)
    return photo


def _draw_face(draw: ImageDraw.ImageDraw, mark: Mark) -> None:
    """Box and points, `_FINE` times larger."""
    x0, y0, x1, y1 = (_FINE * value for value in mark.box)
    line = _FINE * mark.line
    draw.rectangle((x0 - line, y0 - line, x1 + line, y1 + line), outline=(0, 0, 0, 255), width=max(1, round(1.6 * line)))
    if mark.verdict.needs_review:
        _dashed(draw, (x0, y0, x1, y1), mark.verdict.colour, line)
    else:
        draw.rectangle((x0 - line / 2, y0 - line / 2, x1 + line / 2, y1 + line / 2), outline=mark.verdict.colour, width=round(line))
    radius = _FINE * mark.dot
    for x, y in _FINE * mark.points:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill="#ffffff", outline="#303030", width=1)


def _dashed(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], colour: str, line: float) -> None:
    x0, y0, x1, y1 = box
    step = 5 * line
    for start in np.arange(x0, x1, step):
        for y in (y0, y1):
            draw.line((start, y, min(start + 0.6 * step, x1), y), colour, round(line))
    for start in np.arange(y0, y1, step):
        for x in (x0, x1):
            draw.line((x, start, x, min(start + 0.6 * step, y1)), colour, round(line))


def _draw_tag(draw: ImageDraw.ImageDraw, mark: Mark) -> None:
    tag = mark.tag
    if tag is None:
        return
    draw.rounded_rectangle((tag.x, tag.y, tag.x + tag.width, tag.y + tag.height), 3, _CARD, "#6b7078")
    draw.rectangle((tag.x, tag.y, tag.x + 4, tag.y + tag.height), mark.verdict.colour)
    _text(draw, (tag.x + 0.65 * mark.letter, tag.y + 0.2 * mark.letter), mark.text, mark.letter, _INK)
    for name, share, bar in zip(EXPRESSIONS, mark.verdict.probabilities, mark.columns(), strict=False):
        draw.rectangle(_corners(bar), _TRACK)
        draw.rectangle(_corners(bar.lower(share)), COLOURS[name])


def _draw_cell(sheet: Image.Image, draw: ImageDraw.ImageDraw, plate: Plate, index: int, at: tuple[int, int]) -> None:
    """One face: crop, expression, eight bars."""
    (x, y), verdict = at, plate.verdicts[index]
    title = f"{verdict.expression} {percent(verdict.confidence)}"
    _text(draw, (x, y), title, 17, _INK)
    _text(draw, (x + _font(17).getlength(title) + 10, y + 3), f"face {verdict.index}", 13, _SOFT)
    if verdict.needs_review:
        _text(draw, (x + _CELL_WIDTH - 28 - _font(13).getlength("needs review"), y + 3), "needs review", 13, _WARN)
    if index < len(plate.crops):
        sheet.paste(Image.fromarray(plate.crops[index]), (x, y + 26))
    draw.rectangle((x, y + 138, x + 111, y + 142), verdict.colour)
    _draw_bars(draw, verdict, x + 126, y + 25)
    _text(draw, (x + 126, y + 141), look(verdict), 11, _SOFT)


def _draw_bars(draw: ImageDraw.ImageDraw, verdict: Verdict, x: float, y: float) -> None:
    for row, (name, share) in enumerate(zip(EXPRESSIONS, verdict.probabilities, strict=True)):
        colour, top = (_INK if name == verdict.expression else _SOFT), y + 14.2 * row
        _text(draw, (x, top), name, 12, colour)
        _bar(draw, Tag(x + 70, top + 4, 106, 7), share, COLOURS[name])
        told = percent(share)
        _text(draw, (x + 218 - _font(12).getlength(told), top), told, 12, colour)


def _bar(draw: ImageDraw.ImageDraw, place: Tag, share: float, colour: str) -> None:
    draw.rounded_rectangle(_corners(place), 3, _TRACK)
    if share > 0:
        draw.rounded_rectangle(_corners(replace(place, width=max(2.0, share * place.width))), 3 if share * place.width > 8 else 1, colour)


def _corners(tag: Tag) -> tuple[float, float, float, float]:
    return tag.x, tag.y, tag.x + tag.width, tag.y + tag.height


def _text(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, colour: str) -> None:
    draw.text(at, text, fill=colour, font=_font(size))


def _fitted(text: str, size: float, width: float) -> str:
    """The text, shortened at its end where it is too wide."""
    if _font(size).getlength(text) <= width:
        return text
    kept = next(length for length in range(len(text), -1, -1) if _font(size).getlength(text[:length] + "...") <= width)
    return text[:kept] + "..."


@lru_cache(maxsize=16)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels carry FreeType
    return font
