"""How labels look on a photograph: the colour of each expression, and where tags stand so that they hide neither faces nor each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS

COLOURS: Final[dict[str, str]] = dict(
    zip(EXPRESSIONS, ("#a8b3a6", "#f6b54e", "#24d2f4", "#1d79ff", "#bf5e18", "#3b6e42", "#924b7a", "#7a4eab"), strict=True)
)
"""sRGB. Any two are at least 25 apart in CIELAB, also as the three kinds of colour blindness see them (Machado et al., 2009); light enough
for a dark page and dark enough for a light one. The name always stands beside its colour."""

TAG_SHADOW: Final = 0.25
"""A tag may hide this share of a face at most."""


@dataclass(frozen=True, slots=True)
class LabelBox:
    """Where one face's tag stands, pixels of the picture that is drawn on."""

    x: float
    y: float
    width: float
    height: float

    def lower(self, share: float) -> "LabelBox":
        """The lower `share` of it, all of its width."""
        return LabelBox(self.x, self.y + (1 - share) * self.height, self.width, share * self.height)


def place_labels(
    boxes: NDArray[np.float32], sizes: Sequence[Sequence[tuple[float, float]]], canvas: tuple[float, float], gap: float = 2.0
) -> list[LabelBox | None]:
    """Find a place for each face's tag, large faces first.

    boxes: (N, 4) x0, y0, x1, y1. sizes: for each face the widths and heights its tag may have, best first; none for a face without a tag.
    canvas: width and height of the picture. gap: pixels between a tag and its face. A tag lies inside the picture and overlaps no other;
    of the places beside its face that remain, it takes the one that hides least of any face. None where there is no such place.
    """
    tags: list[LabelBox | None] = [None] * len(boxes)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-areas, kind="stable"):
        taken = [tag for tag in tags if tag is not None]
        fits = (_best(_beside(boxes[index], size, canvas, gap), boxes, taken) for size in sizes[index])
        tags[index] = next((tag for tag in fits if tag is not None), None)
    return tags


def _best(places: Iterable[LabelBox], boxes: NDArray[np.float32], taken: Sequence[LabelBox]) -> LabelBox | None:
    """The free place that hides least, the first of equals; None where all are taken or hide too much."""
    free = [place for place in places if not any(_overlap(place, tag) for tag in taken)]
    hidden = [_hidden(place, boxes) for place in free]
    return free[int(np.argmin(hidden))] if free and min(hidden) <= TAG_SHADOW else None


def _beside(box: NDArray[np.float32], size: tuple[float, float], canvas: tuple[float, float], gap: float) -> Iterable[LabelBox]:
    """The places around a box that lie inside the canvas, best first; tags slide along the box to stay inside."""
    (x0, y0, x1, y1), (width, height) = (float(value) for value in box), size
    right, bottom = canvas[0] - width, canvas[1] - height
    rows = [(x, y) for y in (y0 - gap - height, y1 + gap) for x in (x0, (x0 + x1 - width) / 2, x1 - width)]
    columns = [(x, y) for x in (x1 + gap, x0 - gap - width) for y in (y0, y1 - height)]
    # a face that fills the picture leaves room only on itself: on its chin or its brow
    on_it = [(x0 + gap, y1 - height - gap), (x0 + gap, y0 + gap)]
    slid = [(_within(x, right), y) for x, y in rows] + [(x, _within(y, bottom)) for x, y in columns]
    slid += [(_within(x, right), _within(y, bottom)) for x, y in on_it]
    return [LabelBox(x, y, width, height) for x, y in slid if 0 <= x <= right and 0 <= y <= bottom]


def _within(value: float, upper: float) -> float:
    return min(max(value, 0.0), upper)


def _overlap(a: LabelBox, b: LabelBox) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def _hidden(tag: LabelBox, boxes: NDArray[np.float32]) -> float:
    """Largest share of a face that the tag would cover."""
    across = np.minimum(boxes[:, 2], tag.x + tag.width) - np.maximum(boxes[:, 0], tag.x)
    down = np.minimum(boxes[:, 3], tag.y + tag.height) - np.maximum(boxes[:, 1], tag.y)
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-6)
    return float(np.max(np.maximum(across, 0) * np.maximum(down, 0) / areas))
