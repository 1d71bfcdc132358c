"""Letters, bars and rectangles of the PNG picture."""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
from PIL import ImageDraw, ImageFont

from fer_core.gallery.annotations import Rectangle
from fer_core.gallery.label_placement import LabelBox

PAGE, CARD, MAT, INK, SOFT, TRACK, WARN = "#f6f5f2", "#ffffff", "#ebe9e3", "#1c2128", "#5d6672", "#e9e7e1", "#9a5b00"

_ELLIPSIS: Final = "..."


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, colour: str = INK, *, anchor: str = "la") -> None:
    """One line of text. anchor: the point of it that stands `at`, as Pillow names them; its top left corner by default."""
    draw.text(at, text, fill=colour, font=_font(size), anchor=anchor)


def width(text: str, size: float) -> float:
    """Width of a line of text in pixels."""
    return float(_font(size).getlength(text))


def truncate_to_width(text: str, size: float, room: float) -> str:
    """The text, shortened at its end where it is wider than `room` pixels."""
    if width(text, size) <= room:
        return text
    kept = next((length for length in range(len(text), 0, -1) if width(text[:length] + _ELLIPSIS, size) <= room), 0)
    return text[:kept] + _ELLIPSIS


def bar(draw: ImageDraw.ImageDraw, place: LabelBox, share: float, colour: str) -> None:
    """A horizontal bar, filled from the left."""
    draw_rectangle(draw, Rectangle(place, TRACK, radius=place.height / 2), 1.0)
    if share > 0:
        filled = replace(place, width=max(2.0, share * place.width))
        draw_rectangle(draw, Rectangle(filled, colour, radius=min(place.height, filled.width) / 2), 1.0)


def draw_rectangle(draw: ImageDraw.ImageDraw, shape: Rectangle, scale: float) -> None:
    """A rectangle with all of its lengths times `scale`."""
    place, line = shape.place, scale * shape.line
    x0, y0, x1, y1 = (scale * value for value in (place.x, place.y, place.x + place.width, place.y + place.height))
    if not shape.dashed:
        out = line / 2
        corners = (x0 - out, y0 - out, x1 + out, y1 + out)
        draw.rounded_rectangle(corners, scale * shape.radius, shape.fill, shape.stroke, max(1, round(line)))
        return
    for (ax, ay), (bx, by) in pairwise(((x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0))):
        length = abs(bx - ax) + abs(by - ay)
        for start in np.arange(0, length, 5 * line):
            ends = (start / length, min(1.0, (start + 3 * line) / length))
            draw.line([(ax + share * (bx - ax), ay + share * (by - ay)) for share in ends], shape.stroke, max(1, round(line)))


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels carry FreeType
    return font
