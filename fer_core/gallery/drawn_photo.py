"""A photograph with its boxes, points and tags, as one picture."""

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw

from fer_core.gallery.annotations import Annotation
from fer_core.gallery.drawing import draw_rectangle, write
from fer_core.gallery.photo import GalleryPhoto

_FINE: Final = 2
"""Photographs are drawn so many times larger and shrunk, which makes lines, points and letters smooth."""


def draw_photo(photo: GalleryPhoto, annotations: Sequence[Annotation], scale: float) -> Image.Image:
    """The photograph with its annotations. scale: pixels of the result for one of `photo.pixels`."""
    height, wide = photo.pixels.shape[:2]
    size = (max(1, round(wide * scale)), max(1, round(height * scale)))
    drawn = Image.fromarray(photo.pixels).resize((_FINE * size[0], _FINE * size[1]), Image.Resampling.BICUBIC)
    draw, fine = ImageDraw.Draw(drawn, "RGBA"), _FINE * size[0] / wide
    for mark in annotations:
        for shape in mark.box:
            draw_rectangle(draw, shape, fine)
        for x, y in mark.points:
            draw.circle((fine * x, fine * y), fine * mark.dot, "#fff", "#0009", max(1, round(0.35 * fine * mark.dot)))
    for mark in annotations:
        for shape in mark.tag:
            draw_rectangle(draw, shape, fine)
        if mark.tag:
            at = mark.text_place
            write(draw, (fine * at.x, fine * at.y), mark.text, fine * mark.letter, anchor="ls")
    return drawn.reduce(_FINE)
