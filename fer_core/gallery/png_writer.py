"""The page as one PNG: its first cards, larger than on a screen, for where no browser is."""

import io
from typing import Final

from PIL import Image, ImageDraw

from fer_core.gallery.drawing import CARD, INK, MAT, PAGE, SOFT, WARN, bar, truncate_to_width, width, write
from fer_core.gallery.drawn_photo import draw_photo
from fer_core.gallery.label_placement import COLOURS, LabelBox
from fer_core.gallery.page import LAW, Card, GalleryPage
from fer_core.gallery.photo import GalleryPhoto
from fer_core.gallery.text import counted, percent
from fer_core.labels import EXPRESSIONS
from fer_core.outputs.mark import by_digest, png_mark

CARDS: Final = 6
"""Cards at most."""
FACES: Final = 18
"""Faces of one photograph that get bars at most."""

_WIDTH, _MARGIN, _GAP = 1840, 48, 32
_INNER: Final = _WIDTH - 2 * _MARGIN
_HEAD, _TITLE, _FOOT = 236, 54, 76
_ZOOM: Final = 1.2
"""Pixels of the PNG for one of the screen."""
_ACROSS, _CELL, _CROP = 4, (416, 200), 132
"""Faces side by side below a photograph; width and height of one; side of its crop."""


def write_png(page: GalleryPage) -> bytes:
    """The encoded PNG."""
    cards = [_draw_card(card) for card in page.cards[:CARDS]]
    sheet = Image.new("RGB", (_WIDTH, _HEAD + sum(card.height + _GAP for card in cards) + _FOOT), PAGE)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, page)
    top = _HEAD
    for card in cards:
        sheet.paste(card, (0, top))
        top += card.height + _GAP
    if len(page.cards) > CARDS:
        write(draw, (_MARGIN, top), f"The page shows {counted(len(page.cards) - CARDS, 'more picture')}.", 16, SOFT)
    write(draw, (_MARGIN, top + _FOOT - 46), f"{LAW[0]} Faces are biometric data: protect this image like the photographs.", 15, SOFT)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return png_mark(stream.getvalue(), "gallery", by_digest(page.named[:CARDS]))


def _draw_head(draw: ImageDraw.ImageDraw, page: GalleryPage) -> None:
    write(draw, (_MARGIN, 36), page.headline, 40)
    facts = "  ·  ".join(f"{name.lower()} {value}" for name, value in page.facts.items() if name not in {"Source", "Committed"})
    write(draw, (_MARGIN, 90), truncate_to_width(facts, 15, _INNER), 15, SOFT)
    step = (_INNER + 20) / len(EXPRESSIONS)
    for number, tally in enumerate(page.expressions):
        x, colour = _MARGIN + number * step, INK if tally.count else SOFT
        write(draw, (x, 134), f"{tally.count:,}", 26, colour)
        write(draw, (x, 166), tally.name, 16, colour)
        bar(draw, LabelBox(x, 194, step - 20, 10), tally.share, tally.colour)


def _draw_card(card: Card) -> Image.Image:
    """Up to `page.BESIDE` faces stand beside the photograph, in the middle of its height; more stand in rows below it."""
    count, name = len(card.photo.faces), truncate_to_width(card.photo.name, 20, 1000)
    shown, columns = min(FACES, count), 1 if card.beside else _ACROSS
    photo = None if card.photo.note else draw_photo(card.photo, card.annotations, card.scale * _ZOOM)
    rows, body = -(-shown // columns) * _CELL[1], 120 if photo is None else photo.height
    if shown and card.beside:
        mat, left, body = _INNER - _CELL[0] - _GAP, _INNER - _CELL[0], max(body, rows)
        first, height = _TITLE + (body - rows) // 2, _TITLE + body + 16
    else:
        mat, left, first = _INNER, 0, _TITLE + body + 24
        height = first - 8 + rows + (34 if count > shown else 0)
    drawn = Image.new("RGB", (_WIDTH, height), PAGE)
    draw = ImageDraw.Draw(drawn)
    draw.rounded_rectangle((_MARGIN - 16, 0, _WIDTH - _MARGIN + 16, height - 1), 14, CARD)
    write(draw, (_MARGIN, 15), name, 20)
    write(draw, (_MARGIN + width(name, 20) + 16, 19), card.photo.details, 15, SOFT)
    if photo is None:
        write(draw, (_MARGIN, _TITLE + 42), f"The photograph cannot be shown: {card.photo.note}.", 18, WARN)
    else:
        draw.rectangle((_MARGIN, _TITLE, _MARGIN + mat - 1, _TITLE + body - 1), MAT)
        drawn.paste(photo, (_MARGIN + (mat - photo.width) // 2, _TITLE + (body - photo.height) // 2))
    for index in range(shown):
        row, column = divmod(index, columns)
        _draw_face(drawn, card.photo, index, (_MARGIN + left + column * (_INNER + _GAP) // _ACROSS, first + row * _CELL[1]))
    if count > shown:
        write(draw, (_MARGIN, height - 34), f"and {counted(count - shown, 'more face')}", 15, SOFT)
    return drawn


def _draw_face(drawn: Image.Image, photo: GalleryPhoto, index: int, at: tuple[int, int]) -> None:
    """One face of a photograph. at: top left corner."""
    (x, y), face, draw = at, photo.faces[index], ImageDraw.Draw(drawn)
    right, below, beside = x + _CELL[0] - 12, y + 30 + _CROP, x + _CROP + 16
    write(draw, at, face.title, 20)
    write(draw, (x + width(face.title, 20) + 12, y + 4), f"face {face.index}", 15, SOFT)
    if face.needs_review:
        write(draw, (right, y + 4), "needs review", 15, WARN, anchor="ra")
    if not photo.note:
        drawn.paste(Image.fromarray(photo.crops[index]).resize((_CROP, _CROP), Image.Resampling.BICUBIC), (x, y + 30))
    draw.rectangle((x, below, x + _CROP - 1, below + 4), face.colour)
    for row, (name, share) in enumerate(zip(EXPRESSIONS, face.probabilities, strict=True)):
        colour, top = (INK if name == face.expression else SOFT), y + 29 + 16.8 * row
        write(draw, (beside, top), name, 14, colour)
        bar(draw, LabelBox(beside + 82, top + 5, right - beside - 132, 8), share, COLOURS[name])
        write(draw, (right, top), percent(share), 14, colour, anchor="ra")
    write(draw, (beside, y + 32 + 16.8 * len(EXPRESSIONS)), face.pose, 13, SOFT)
