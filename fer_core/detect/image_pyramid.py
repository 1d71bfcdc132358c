"""Pyramid levels: the sizes at which a detector processes one picture."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_SIDE = 1280
"""Longest side of the finest level, for pictures of up to twice that."""
LIMIT_SIDE = 1920
"""Longest side of the finest level for any picture: larger ones are halved until they meet it."""
ENLARGE = 2.0
"""Small pictures are enlarged by at most this factor: their small faces are found, and noise is not enlarged into faces."""


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


def pyramid_levels(pixels: NDArray[np.uint8], sides: list[int]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
    """The picture at each longest side, and what its x and y are multiplied by to be pixels of the picture again, (2,).

    Shrinking averages areas, enlarging is bilinear. No side falls below one pixel.
    """
    height, width = pixels.shape[:2]
    for side in sides:
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        look = pixels if size == (width, height) else np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)
        yield look, np.array([width / size[0], height / size[1]], np.float32)
