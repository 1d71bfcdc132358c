"""Pictures with their faces, turned, shrunk or enlarged onto a canvas."""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.training.material import TrainingImage
from benchmarks.detector.training.teacher import SWAPPED

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Marks:
    """Faces on a canvas. N is their number."""

    boxes: Floats
    """(N, 4) x0, y0, x1, y1; may reach out of the canvas."""
    points: Floats
    """(N, 5, 2)."""
    scores: Floats
    """(N,) of the teacher."""

    @classmethod
    def none(cls) -> "Marks":
        """No face."""
        return cls(np.zeros((0, 4)), np.zeros((0, 5, 2)), np.zeros(0))

    @classmethod
    def joined(cls, parts: list["Marks"]) -> "Marks":
        """All faces of several records."""
        everyone = [cls.none(), *parts]
        return cls(
            np.concatenate([part.boxes for part in everyone]),
            np.concatenate([part.points for part in everyone]),
            np.concatenate([part.scores for part in everyone]),
        )

    def take(self, index: NDArray[Any]) -> "Marks":
        """The faces at an index or under a mask."""
        return Marks(self.boxes[index], self.points[index], self.scores[index])

    def moved(self, matrix: Floats) -> "Marks":
        """Under a (2, 3) similarity, mirroring or not.

        A turned box is the one around the ellipse inside the old box, turned: a face has no corners.
        """
        points = self.points @ matrix[:, :2].T + matrix[:, 2]
        if np.linalg.det(matrix[:, :2]) < 0:
            points = points[:, SWAPPED]
        centres = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2 @ matrix[:, :2].T + matrix[:, 2]
        half = np.sqrt(((self.boxes[:, 2:] - self.boxes[:, :2]) / 2) ** 2 @ (matrix[:, :2] ** 2).T)
        return Marks(np.concatenate([centres - half, centres + half], axis=1), points, self.scores)


class Source:
    """One labelled picture and its halves, quarters and so on, so that shrinking averages areas and is quick."""

    def __init__(self, picture: TrainingImage) -> None:
        self.kind = picture.kind
        self.pixels = picture.pixels
        self.marks = Marks(picture.faces.boxes.astype(float), picture.faces.points.astype(float), picture.faces.scores.astype(float))
        self._halves = [picture.pixels]
        while min(self._halves[-1].shape[:2]) >= 32:
            height, width = self._halves[-1].shape[:2]
            self._halves.append(np.asarray(cv2.resize(self._halves[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8))

    @property
    def size(self) -> Floats:
        """(2,) width and height."""
        return np.array(self.pixels.shape[1::-1], float)

    def warped(self, matrix: Floats, size: tuple[int, int], border: int = cv2.BORDER_REFLECT_101) -> Pixels:
        """(height, width, 3) of `size` = (width, height); matrix (2, 3) carries this picture's pixel edges to the canvas's."""
        scale = math.sqrt(abs(float(np.linalg.det(matrix[:, :2]))))
        level = min(len(self._halves) - 1, max(0, math.floor(-math.log2(scale))))
        half = self._halves[level]
        back = self.size / half.shape[1::-1]
        inner = matrix.copy()
        inner[:, :2] = matrix[:, :2] * back
        inner[:, 2] += inner[:, :2] @ [0.5, 0.5] - 0.5  # pixel edges -> pixel centres
        return np.asarray(cv2.warpAffine(half, inner, size, flags=cv2.INTER_LINEAR, borderMode=border), np.uint8)


def similarity(centre: Floats, target: Floats, scale: float, degrees: float, *, mirror: bool) -> Floats:
    """(2, 3): `centre` of the picture comes to `target` on the canvas, scaled, turned, perhaps mirrored first."""
    angle = math.radians(degrees)
    matrix = np.zeros((2, 3))
    matrix[:, :2] = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    if mirror:
        matrix[:, 0] *= -1
    matrix[:, 2] = target - matrix[:, :2] @ centre
    return matrix
