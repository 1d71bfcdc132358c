"""Pyramid levels: the sizes at which a detector processes one picture, and tiles of levels that are too large for one pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 1280
"""Longest side of the finest level, for pictures of up to twice that."""
LIMIT_SIDE = 1920
"""Longest side of the finest level for any picture: larger ones are halved until they meet it."""
ENLARGE = 2.0
"""Small pictures are enlarged by at most this factor: their small faces are found, and noise is not enlarged into faces."""
OVERLAP: Final = 320
"""Pixels that neighbouring tiles share: larger faces are whole in a coarser level."""
EDGE: Final = 3.0
"""A box so near to the cut edge of a tile, in pixels, is whole in another tile or level."""

REVISION: Final = 2
"""Of how levels are made, for the identities of detectors; the first averaged areas of any size."""

Span = tuple[int, int]
"""First pixel of a side, and the one after the last."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of one pyramid level."""

    pixels: NDArray[np.uint8]
    """(h, w, 3) RGB."""
    origin: NDArray[np.float32]
    """(2,) its left upper corner in the level."""
    scale: NDArray[np.float32]
    """(2,) factors from pixels of the level to pixels of the picture."""
    cut: NDArray[np.float32]
    """(4,) x0, y0, x1, y1 of its edges, in its own pixels, beyond which the level continues; infinite where it does not."""

    def placed(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 15) box, points, score in the tile's pixels -> in the picture's, without those that a cut edge of the tile is near."""
        low, high = rows[:, :2] > self.cut[:2] + EDGE, rows[:, 2:4] < self.cut[2:] - EDGE
        rows = rows[(low & high).all(axis=1)]
        rows[:, :14] = (rows[:, :14] + np.tile(self.origin, 7)) * np.tile(self.scale, 7)
        return rows


def finest_side(height: int, width: int, max_side: int = MAX_SIDE) -> int:
    """Longest side of the finest level of a picture of `height` x `width` pixels.

    Twice the picture up to `max_side`, that up to twice `max_side`, then half the picture up to 1.5 `max_side`: the faces of a
    12-megapixel photograph that are 40 px high are still 19 px there.
    """
    longest = max(height, width)
    return round(max(min(ENLARGE * longest, max_side), min(longest / 2, max_side * LIMIT_SIDE / MAX_SIDE)))


def shrinkable_side(max_side: int = MAX_SIDE) -> int:
    """Longest side from which on all pictures have the same levels: larger ones may come shrunk to it or a little more."""
    return 2 * max_side * LIMIT_SIDE // MAX_SIDE


def halved(finest: int, looks: int, coarsest: int = LIMIT_SIDE) -> list[int]:
    """Longest sides of levels, each half of the one before: `looks` of them, more where the last is above `coarsest`."""
    found = [finest]
    while len(found) < looks or found[-1] > coarsest:
        found.append(max(1, finest >> len(found)))
    return found


def tiles(level: NDArray[np.uint8], scale: NDArray[np.float32], side: int = LIMIT_SIDE) -> Iterator[Tile]:
    """Overlapping parts of a level: as few as of `side`, but no longer than so many need be. The level itself where it is no longer.

    scale: (2,) factors from pixels of the level to pixels of the picture.
    """
    height, width = level.shape[:2]
    return cut_level(level, scale, spans(height, _fitted(height, side), OVERLAP), spans(width, _fitted(width, side), OVERLAP))


def cut_level(level: NDArray[np.uint8], scale: NDArray[np.float32], rows: Sequence[Span], columns: Sequence[Span]) -> Iterator[Tile]:
    """The part of a level at each of the rows and columns."""
    height, width = level.shape[:2]
    for top, bottom in rows:
        for left, right in columns:
            low = [-np.inf if left == 0 else 0, -np.inf if top == 0 else 0]
            high = [np.inf if right == width else right - left, np.inf if bottom == height else bottom - top]
            yield Tile(level[top:bottom, left:right], np.array([left, top], np.float32), scale, np.array([*low, *high], np.float32))


def _fitted(length: int, side: int) -> int:
    """The shortest tile of which as few cover a length as of `side`."""
    count = max(1, -(-(length - OVERLAP) // (side - OVERLAP)))
    return -(-(length + (count - 1) * OVERLAP) // count)


def spans(length: int, tile: int, overlap: int) -> list[Span]:
    """Equal overlapping spans of at most `tile` that cover a side."""
    if length <= tile:
        return [(0, length)]
    count = -(-(length - overlap) // (tile - overlap))
    starts = np.linspace(0, length - tile, count).round().astype(int)
    return [(int(start), int(start) + tile) for start in starts]


@dataclass(frozen=True, slots=True)
class Level:
    """How one pyramid level is made."""

    height: int
    width: int
    cell: int
    """Side of the squares whose pixels are averaged first; 1 where there are none."""
    back: tuple[float, float]
    """What its x and y are multiplied by to be pixels of the picture again."""
    from_picture: bool
    """Otherwise it is made from the level before it."""


def plan_levels(height: int, width: int, sides: Sequence[int]) -> list[Level]:
    """The levels of a picture by their longest sides, finest first. No side falls below one pixel.

    Shrinking averages whole squares and then takes bilinear samples, less than two pixels apart along the side that shrinks less: a fifth
    of the time that averaging areas of any size takes. A level is made from the one before it, unless that was enlarged. Rows and columns
    that fill no square are dropped.
    """
    found: list[Level] = []
    rows, columns, back, from_picture = height, width, (1.0, 1.0), True
    for side in sides:
        scale = side / max(height, width)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        cell = max(1, min(rows // size[0], columns // size[1]))
        own = (back[0] * (columns // cell * cell) / size[1], back[1] * (rows // cell * cell) / size[0])
        found.append(Level(*size, cell, own, from_picture))
        if scale <= 1:
            (rows, columns), back, from_picture = size, own, False
    return found


def pyramid_levels(pixels: NDArray[np.uint8], sides: Sequence[int]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """The picture at each longest side, and what its x and y are multiplied by to be pixels of the picture again, (2,)."""
    look = pixels
    for level in plan_levels(pixels.shape[0], pixels.shape[1], sides):
        look = _resized(pixels if level.from_picture else look, level)
        yield look, np.array(level.back, np.float32)


def _resized(pixels: NDArray[np.uint8], level: Level) -> NDArray[np.uint8]:
    rows, columns = pixels.shape[0] // level.cell, pixels.shape[1] // level.cell
    if level.cell > 1:
        whole = pixels[: rows * level.cell, : columns * level.cell]
        pixels = np.asarray(cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8)
    if (rows, columns) == (level.height, level.width):
        return pixels
    return np.asarray(cv2.resize(pixels, (level.width, level.height), interpolation=cv2.INTER_LINEAR), np.uint8)
