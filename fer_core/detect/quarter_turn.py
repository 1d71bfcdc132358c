"""Quarter turns of pictures, and of the faces found in them. All counts are counter-clockwise, as NumPy's `rot90` counts them.

Coordinates are positions between the edges of a picture, 0 to its width and height: pictures decoded at a part of their size turn alike.
"""

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import Floats
from fer_core.types import Faces

Shape = tuple[int, int]
"""Rows and columns."""


def turned_picture(pixels: NDArray[np.uint8], turns: int) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W) -> the same turned, in rows of its own."""
    return np.ascontiguousarray(np.rot90(pixels, turns))


def turned_shape(shape: Shape, turns: int) -> Shape:
    """Rows and columns of a picture -> those after the turns."""
    return shape if turns % 2 == 0 else (shape[1], shape[0])


def turned_points(points: Floats, turns: int, shape: Shape) -> Floats:
    """(..., 2) x, y in a picture of `shape` -> where they are in `turned_picture` of it."""
    x, y = points[..., 0], points[..., 1]
    height, width = shape
    each = ((x, y), (y, width - x), (width - x, height - y), (height - y, x))
    return np.stack(each[turns % 4], axis=-1)


def turned_faces(faces: Faces, turns: int, shape: Shape) -> Faces:
    """The same faces in `turned_picture` of their picture, which has `shape`. Points keep their order, which is that of the face."""
    corners = turned_points(faces.boxes.reshape(-1, 2, 2), turns, shape)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return Faces(boxes.astype(np.float32), turned_points(faces.points, turns, shape).astype(np.float32), faces.scores)
