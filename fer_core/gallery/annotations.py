"""What is drawn over a photograph, whoever draws it: boxes, points and tags in the pixels of the drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

from fer_core.gallery.label_placement import LabelBox, place_labels
from fer_core.gallery.photo import GalleryPhoto, Verdict
from fer_core.gallery.text import percent

TAG_TEXT: Final = 13.0
"""Size of a tag's letters, pixels of the screen."""
FACE_FOR_BARS, FACE_FOR_TEXT = 5.0, 2.4
"""Narrowest face that gets a tag with bars, and one with text only, in sizes of its letters."""
FULL_TAG, SHORT_TAG = 2.8, 1.4
"""Heights of a tag with and without bars, in sizes of its letters."""
LINE: Final = 2.0
"""Width of a box's line, pixels of the screen."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One face, pixels of the drawing."""

    verdict: Verdict
    box: tuple[float, float, float, float]
    """x0, y0, x1, y1."""
    points: NDArray[np.float32]
    """(5, 2)"""
    dot: float
    """Radius of a point."""
    letter: float
    """Size of the tag's letters."""
    text: str
    tag: LabelBox | None

    @property
    def line(self) -> float:
        """Width of the box's line."""
        return self.letter * LINE / TAG_TEXT

    @property
    def bars(self) -> LabelBox | None:
        """Where the eight probabilities stand inside the tag, as bars side by side; None where only the text fits."""
        if self.tag is None or self.tag.height < FULL_TAG * self.letter:
            return None
        margin, top = 0.5 * self.letter, SHORT_TAG * self.letter
        return LabelBox(self.tag.x + margin, self.tag.y + top, self.tag.width - 2 * margin, self.tag.height - top - 0.35 * self.letter)

    def columns(self) -> list[LabelBox]:
        """The places of the eight bars inside `bars`, full height; none where only the text fits."""
        if self.bars is None:
            return []
        step = self.bars.width / len(self.verdict.probabilities)
        places = range(len(self.verdict.probabilities))
        return [LabelBox(self.bars.x + (place + 0.1) * step, self.bars.y, 0.8 * step, self.bars.height) for place in places]


def annotate(picture: GalleryPhoto, scale: float) -> list[Annotation]:
    """What to draw over a picture.

    scale: pixels of the screen for one of the picture's; lines and letters are chosen so that they have their usual size on the screen.
    """
    letter = TAG_TEXT / scale
    texts = [f"{verdict.expression} {percent(verdict.confidence)}" for verdict in picture.verdicts]
    sizes = [_tag_sizes(text, float(box[2] - box[0]), letter) for text, box in zip(texts, picture.boxes, strict=True)]
    tags = place_labels(picture.boxes, sizes, (picture.pixels.shape[1], picture.pixels.shape[0]), gap=0.25 * letter)
    return [_mark(picture, index, texts[index], tags[index], letter) for index in range(len(picture.verdicts))]


def _mark(picture: GalleryPhoto, index: int, text: str, tag: LabelBox | None, letter: float) -> Annotation:
    x0, y0, x1, y1 = (float(value) for value in picture.boxes[index])
    dot = min(0.26 * letter, max(0.05 * letter, 0.028 * (x1 - x0)))
    return Annotation(picture.verdicts[index], (x0, y0, x1, y1), picture.points[index], dot, letter, text, tag)


def _tag_sizes(text: str, face: float, letter: float) -> Sequence[tuple[float, float]]:
    width = (text_width(text) + 1.25) * letter
    full, short = (width, FULL_TAG * letter), (width, SHORT_TAG * letter)
    if face >= FACE_FOR_BARS * letter:
        return (full, short)
    return (short,) if face >= FACE_FOR_TEXT * letter else ()


@lru_cache(maxsize=4096)
def text_width(text: str) -> float:
    """Width of a line of text in sizes of its letters."""
    return float(ImageFont.load_default(100).getlength(text)) / 100
