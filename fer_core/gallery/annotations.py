"""What both writers draw over a photograph: boxes, points and tags in the photograph's pixels."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from PIL import ImageFont

from fer_core.gallery.label_placement import COLOURS, LabelBox, place_labels
from fer_core.gallery.photo import GalleryPhoto
from fer_core.labels import EXPRESSIONS

TAG_TEXT: Final = 13.0
"""Size of a tag's letters, pixels of the screen."""
FACE_FOR_BARS, FACE_FOR_TEXT = 5.0, 2.4
"""Narrowest face that gets a tag with bars, and one with text only, in sizes of its letters."""
FULL_TAG, SHORT_TAG = 2.8, 1.4
"""Heights of a tag with and without bars, in sizes of its letters."""
LINE: Final = 2.0 / TAG_TEXT
"""Width of a box's line, in sizes of a tag's letters."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A rectangle as SVG draws it: the middle of its line is its edge."""

    place: LabelBox
    fill: str | None = None
    """CSS colour, like `stroke`: `#rgb`, `#rgba`, `#rrggbb` or `#rrggbbaa`."""
    stroke: str | None = None
    line: float = 0.0
    """Width of the line."""
    radius: float = 0.0
    """Of the corners."""
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Annotation:
    """One face."""

    index: int
    """`face_index`."""
    text: str
    box: tuple[Rectangle, ...]
    points: list[tuple[float, float]]
    dot: float
    """Radius of a point."""
    letter: float
    """Size of the tag's letters."""
    tag: tuple[Rectangle, ...]
    """Ground, edge and bars; empty where there is no room for a tag."""

    @property
    def text_place(self) -> LabelBox:
        """Where the text of the tag stands: from the left end of its baseline."""
        ground = self.tag[0].place
        return LabelBox(ground.x + 0.65 * self.letter, ground.y + 1.02 * self.letter, ground.width - 1.25 * self.letter, self.letter)


def annotate(photo: GalleryPhoto, scale: float) -> list[Annotation]:
    """What to draw over a photograph.

    scale: pixels of the screen for one of the photograph's; lines and letters are chosen so that they have their usual size on the screen.
    """
    letter = TAG_TEXT / scale
    sizes = [_tag_sizes(face.title, float(box[2] - box[0]), letter) for face, box in zip(photo.faces, photo.boxes, strict=True)]
    tags = place_labels(photo.boxes, sizes, (photo.pixels.shape[1], photo.pixels.shape[0]), gap=0.25 * letter)
    return [_annotation(photo, number, tag, letter) for number, tag in enumerate(tags)]


def _annotation(photo: GalleryPhoto, number: int, tag: LabelBox | None, letter: float) -> Annotation:
    face, line = photo.faces[number], LINE * letter
    x0, y0, x1, y1 = photo.boxes[number].tolist()
    place = LabelBox(x0, y0, x1 - x0, y1 - y0)
    halo = Rectangle(place, stroke="#000a", line=1.9 * line, radius=1.5 * line)
    box = Rectangle(place, stroke=face.colour, line=line, radius=1.5 * line, dashed=face.needs_review)
    dot = min(0.26 * letter, max(0.05 * letter, 0.028 * place.width))
    drawn = () if tag is None else _tag(tag, face.colour, face.probabilities, letter)
    return Annotation(face.index, face.title, (halo, box), photo.points[number].tolist(), dot, letter, drawn)


def _tag(tag: LabelBox, colour: str, probabilities: tuple[float, ...], letter: float) -> tuple[Rectangle, ...]:
    """A tag of full height has the eight probabilities as bars side by side below its text."""
    ground = Rectangle(tag, "#fffffff2", "#0005", 0.4 * LINE * letter, 0.25 * letter)
    edge = Rectangle(LabelBox(tag.x, tag.y, 0.28 * letter, tag.height), colour, radius=0.12 * letter)
    bars = []
    if tag.height >= FULL_TAG * letter:
        step = (tag.width - letter) / len(EXPRESSIONS)
        top, height = tag.y + SHORT_TAG * letter, tag.height - (SHORT_TAG + 0.35) * letter
        for number, (name, share) in enumerate(zip(EXPRESSIONS, probabilities, strict=True)):
            bar = LabelBox(tag.x + 0.5 * letter + (number + 0.1) * step, top, 0.8 * step, height)
            bars += [Rectangle(bar, "#0000001a"), Rectangle(bar.lower(share), COLOURS[name])]
    return (ground, edge, *bars)


def _tag_sizes(text: str, face: float, letter: float) -> tuple[tuple[float, float], ...]:
    width = (text_width(text) + 1.25) * letter
    full, short = (width, FULL_TAG * letter), (width, SHORT_TAG * letter)
    if face >= FACE_FOR_BARS * letter:
        return (full, short)
    return (short,) if face >= FACE_FOR_TEXT * letter else ()


@lru_cache(maxsize=4096)
def text_width(text: str) -> float:
    """Width of a line of text in sizes of its letters."""
    return float(ImageFont.load_default(100).getlength(text)) / 100
