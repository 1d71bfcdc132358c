"""Labelled pictures of drawn faces, as a detector's training takes them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.training.material import LOOSE, PORTRAIT, SCENE, SMALL, TrainingImage
from fer_core.types import Faces
from tests.support import made_faces

BOX: Final = np.array([14.0, 34, 98, 112])
"""Brows to chin of a drawn face of 112 px."""
POINTS: Final = np.array([[38.0, 52], [74, 52], [56, 68], [40, 90], [72, 90]])


def picture(
    kind: str, name: str, size: tuple[int, int], faces: list[tuple[int, int, int, float]], seed: int = 0, level: int | None = None
) -> TrainingImage:
    """`size` = (width, height) with drawn faces (x, y, side, score) on noise, or on one `level` of grey."""
    draws = np.random.default_rng(seed)
    pixels: NDArray[np.uint8] = draws.integers(90, 110, (size[1], size[0], 3), np.uint8)
    if level is not None:
        pixels[:] = level
    boxes, points, scores = [], [], []
    for x, y, side, score in faces:
        drawn = made_faces.tinted(made_faces.face("happiness", draws, side))
        part = pixels[y : y + side, x : x + side]
        part[:] = drawn[: part.shape[0], : part.shape[1]]
        boxes.append(BOX * side / 112 + [x, y, x, y])
        points.append(POINTS * side / 112 + [x, y])
        scores.append(score)
    record = Faces(np.array(boxes, np.float32).reshape(-1, 4), np.array(points, np.float32).reshape(-1, 5, 2), np.array(scores, np.float32))
    return TrainingImage(kind, name, pixels, record)


def material() -> list[TrainingImage]:
    """A little of every kind. Doubtful: 0.35 in pictures of one person, 0.4 in scenes."""
    return [
        picture(PORTRAIT, "portrait", (200, 240), [(40, 50, 112, 0.95), (160, 200, 30, 0.35)], 1),
        picture(LOOSE, "loose", (130, 130), [(9, 9, 112, 0.9)], 2),
        picture(SMALL, "small", (48, 48), [(2, 2, 44, 0.85)], 3),
        picture(PORTRAIT, "nobody", (150, 150), [(30, 30, 80, 0.2)], 4),
        picture(SCENE, "street", (400, 300), [(30, 60, 70, 0.9), (150, 90, 60, 0.8), (260, 80, 50, 0.4), (350, 200, 24, 0.25)], 5),
        picture(SCENE, "crowd", (320, 320), [(20 + 60 * (i % 5), 20 + 60 * (i // 5), 40, 0.7 if i % 3 else 0.4) for i in range(25)], 6),
    ]
