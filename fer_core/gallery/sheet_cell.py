"""One face of the sheet: its crop, its expression and the eight probabilities."""

from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageDraw

from fer_core.gallery.drawing import INK, SOFT, WARN, bar, width, write, write_left_of
from fer_core.gallery.label_placement import COLOURS, LabelBox
from fer_core.gallery.photo import GalleryPhoto
from fer_core.gallery.text import describe_pose, percent
from fer_core.labels import EXPRESSIONS
from fer_core.types import CROP_SIZE

CELL_WIDTH: Final = 350
CELL_HEIGHT: Final = 168
"""With the room to the next one, at zoom 1."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a face stands, pixels below its picture's top left corner."""

    x: float
    y: float
    zoom: float
    """1 is the size among many faces."""


def draw_cell(sheet: Image.Image, picture: GalleryPhoto, index: int, cell: Cell) -> None:
    """Draw one face of a picture. cell: its place on the sheet."""
    x, y, zoom = cell.x, cell.y, cell.zoom
    draw, verdict = ImageDraw.Draw(sheet), picture.verdicts[index]
    title = f"{verdict.expression} {percent(verdict.confidence)}"
    write(draw, (x, y), title, 17 * zoom)
    write(draw, (x + width(title, 17 * zoom) + 10 * zoom, y + 3 * zoom), f"face {verdict.index}", 13 * zoom, SOFT)
    if verdict.needs_review:
        write_left_of(draw, (x + CELL_WIDTH * zoom, y + 3 * zoom), "needs review", 13 * zoom, WARN)
    side = round(CROP_SIZE * zoom)
    if index < len(picture.crops):
        crop = Image.fromarray(picture.crops[index]).resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(crop, (round(x), round(y + 26 * zoom)))
    draw.rectangle((x, y + 26 * zoom + side, x + side - 1, y + 30 * zoom + side), verdict.colour)
    for row, (name, share) in enumerate(zip(EXPRESSIONS, verdict.probabilities, strict=True)):
        colour, top = (INK if name == verdict.expression else SOFT), y + (25 + 14.2 * row) * zoom
        write(draw, (x + 126 * zoom, top), name, 12 * zoom, colour)
        bar(draw, LabelBox(x + 196 * zoom, top + 4 * zoom, 112 * zoom, 7 * zoom), share, COLOURS[name])
        write_left_of(draw, (x + CELL_WIDTH * zoom, top), percent(share), 12 * zoom, colour)
    write(draw, (x + 126 * zoom, y + 141 * zoom), describe_pose(verdict), 11 * zoom, SOFT)
