"""Tiles of a picture for the built-in detector: pyramid levels of falling size, large ones in tiles, in a few shapes so that they batch.

The network finds faces of about 8 to 300 pixels. The finest level has the size that `min_face` asks for, or else the picture's own size,
small ones enlarged; each further level is smaller by `SHRINK`, down to one with the whole picture in one tile, in which a face that fills
it is found.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.image_pyramid import Span, Tile, cut_level, pyramid_levels, spans

SHRINK: Final = 2.5
COARSEST: Final = 320
"""Longest side of the smallest level."""
SMALL: Final = 640
"""Smaller pictures are enlarged to it, at most twice."""
TILE: Final = 1280
"""Longest side of a tile."""
OVERLAP: Final = 160
"""Pixels that neighbouring tiles share: a face that a tile's edge cuts is whole in its neighbour or in the next smaller level."""
STEP: Final = 32
"""Both sides of a tile are padded to a multiple of it."""


def sides(height: int, width: int, largest: int, finest: int | None = None) -> list[int]:
    """Longest sides of the pyramid levels of a picture, finest first: `finest`, or what suits the picture and is not above `largest`."""
    longest = max(height, width)
    found = [min(max(longest, min(2 * longest, SMALL)), largest) if finest is None else finest]
    while found[-1] > COARSEST * 1.5:
        found.append(max(COARSEST, round(found[-1] / SHRINK)))
    return found


def tile_image(pixels: NDArray[np.uint8], largest: int, finest: int | None = None) -> Iterator[Tile]:
    """(H, W, 3) RGB -> all tiles of all levels, with sides that are multiples of `STEP`, grey where the picture ends.

    largest, finest: see `sides`.
    """
    for look, scale in pyramid_levels(pixels, sides(pixels.shape[0], pixels.shape[1], largest, finest)):
        for tile in cut_level(look, scale, _spans(look.shape[0]), _spans(look.shape[1])):
            yield replace(tile, pixels=_filled(tile.pixels))


def _spans(length: int) -> list[Span]:
    return spans(length, TILE, OVERLAP)


def _filled(part: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey to the right and below, up to whole steps."""
    height, width = part.shape[:2]
    down, across = -height % STEP, -width % STEP
    return np.asarray(cv2.copyMakeBorder(part, 0, down, 0, across, cv2.BORDER_CONSTANT, value=(128, 128, 128)), np.uint8)
