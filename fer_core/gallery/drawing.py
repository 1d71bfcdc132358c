"""The sheet's letters, bars and colours."""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from PIL import ImageDraw, ImageFont

from fer_core.gallery.label_placement import LabelBox

PAGE, CARD, MAT, INK, SOFT, TRACK, WARN = "#f6f5f2", "#ffffff", "#ebe9e3", "#1c2128", "#5d6672", "#e9e7e1", "#9a5b00"

_ELLIPSIS: Final = "..."


def write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, colour: str = INK) -> None:
    """One line of text, `at` its top left corner."""
    draw.text(at, text, fill=colour, font=_font(size))


def write_left_of(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, size: float, colour: str = INK) -> None:
    """One line of text that ends at `at`, its top right corner."""
    write(draw, (at[0] - width(text, size), at[1]), text, size, colour)


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
    draw.rounded_rectangle(corners(place), place.height / 2, TRACK)
    if share > 0:
        filled = replace(place, width=max(2.0, share * place.width))
        draw.rounded_rectangle(corners(filled), min(place.height, filled.width) / 2, colour)


def corners(tag: LabelBox) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1."""
    return tag.x, tag.y, tag.x + tag.width, tag.y + tag.height


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels carry FreeType
    return font
