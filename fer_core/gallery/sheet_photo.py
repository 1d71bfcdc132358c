"""One photograph of the sheet, with boxes, points and tags drawn on it."""

from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw

from fer_core.gallery.annotations import Annotation, annotate
from fer_core.gallery.drawing import CARD, TRACK, corners, write
from fer_core.gallery.label_placement import COLOURS
from fer_core.gallery.photo import GalleryPhoto
from fer_core.labels import EXPRESSIONS

FINE: Final = 2
"""Lines and points are drawn so many times larger and shrunk, which makes them smooth."""


def draw_photo(picture: GalleryPhoto, size: tuple[int, int]) -> Image.Image:
    """The photograph at its size on the sheet, with everything drawn on it."""
    width = picture.pixels.shape[1]
    shrinks = size[0] < width
    pixels = np.asarray(cv2.resize(picture.pixels, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)
    scale = np.float32(size[0] / width)
    drawn = annotate(replace(picture, pixels=pixels, boxes=picture.boxes * scale, points=picture.points * scale), 1.0)
    fine = Image.new("RGBA", (size[0] * FINE, size[1] * FINE), (0, 0, 0, 0))
    lines = ImageDraw.Draw(fine)
    for mark in drawn:
        _draw_face(lines, mark)
    photo = Image.fromarray(pixels)
    photo.paste(fine.convert("RGB").resize(size, Image.Resampling.BOX), mask=fine.getchannel("A").resize(size, Image.Resampling.BOX))
    draw = ImageDraw.Draw(photo)
    for mark in drawn:
        _draw_tag(draw, mark)
    return photo


def _draw_face(draw: ImageDraw.ImageDraw, mark: Annotation) -> None:
    """Box and points, `FINE` times larger."""
    x0, y0, x1, y1 = (FINE * value for value in mark.box)
    line = FINE * mark.line
    draw.rectangle((x0 - line, y0 - line, x1 + line, y1 + line), outline=(0, 0, 0, 255), width=max(1, round(1.6 * line)))
    if mark.verdict.needs_review:
        _dashed(draw, (x0, y0, x1, y1), mark.verdict.colour, line)
    else:
        draw.rectangle((x0 - line / 2, y0 - line / 2, x1 + line / 2, y1 + line / 2), outline=mark.verdict.colour, width=round(line))
    radius = FINE * mark.dot
    for x, y in FINE * mark.points:
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


def _draw_tag(draw: ImageDraw.ImageDraw, mark: Annotation) -> None:
    tag = mark.tag
    if tag is None:
        return
    draw.rounded_rectangle((tag.x, tag.y, tag.x + tag.width, tag.y + tag.height), 3, CARD, "#6b7078")
    draw.rectangle((tag.x, tag.y, tag.x + 4, tag.y + tag.height), mark.verdict.colour)
    write(draw, (tag.x + 0.65 * mark.letter, tag.y + 0.2 * mark.letter), mark.text, mark.letter)
    for name, share, bar in zip(EXPRESSIONS, mark.verdict.probabilities, mark.columns(), strict=False):
        draw.rectangle(corners(bar), TRACK)
        draw.rectangle(corners(bar.lower(share)), COLOURS[name])
