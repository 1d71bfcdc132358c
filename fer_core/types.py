"""Frozen, columnar records that pass between the folders of fer_core. N is the number of faces in the record."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS

CROP_SIZE = 112
"""Side of an aligned face in pixels (ArcFace template)."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded photograph, upright (EXIF orientation applied)."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, or (H, W) where luma alone was decoded."""
    height: int
    """Rows of the photograph; `pixels` has fewer where it was decoded at a part of its size."""
    width: int
    """Columns."""
    damage: str | None = None
    """What was wrong with its file, of which the rest was read; None for a sound one."""

    @property
    def reduction(self) -> tuple[float, float]:
        """By which x and y of `pixels` are multiplied to be those of the photograph: 1, 1 where it was decoded in full."""
        return self.width / self.pixels.shape[1], self.height / self.pixels.shape[0]


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces found in one image. Coordinates in pixels of the upright image, origin top left."""

    boxes: NDArray[np.float32]
    """(N, 4) x0, y0, x1, y1: the face from brows to chin, inside the image."""
    points: NDArray[np.float32]
    """(N, 5, 2) left eye, right eye, nose tip, left and right mouth corner, x before y; left is the smaller x on an upright face."""
    scores: NDArray[np.float32]
    """(N,) detector confidence in [0, 1]."""

    def __post_init__(self) -> None:
        count = len(self.scores)
        if self.boxes.shape != (count, 4) or self.points.shape != (count, 5, 2) or self.scores.shape != (count,):
            raise ValueError(f"faces disagree: boxes {self.boxes.shape}, points {self.points.shape}, scores {self.scores.shape}")

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def none(cls) -> "Faces":
        """The record of an image without a face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros((0,), np.float32))

    def take(self, index: NDArray[np.intp]) -> "Faces":
        """The faces at `index`, in that order."""
        return Faces(self.boxes[index], self.points[index], self.scores[index])


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of each face in the image."""

    face_size_px: NDArray[np.float32]
    """(N,) geometric mean of box width and height, pixels of the original image."""
    sharpness: NDArray[np.float32]
    """(N,) in [0, 1]; see `quality.sharpness`."""
    exposure: NDArray[np.float32]
    """(N,) in [0, 1]; see `quality.exposure`. Decides with the others about `needs_review`; no column of its own."""
    yaw_deg: NDArray[np.float32]
    """(N,) positive when the face turns towards the right edge of the image."""
    pitch_deg: NDArray[np.float32]
    """(N,) positive when the face looks up."""
    roll_deg: NDArray[np.float32]
    """(N,) positive when the face leans clockwise as seen in the image."""

    def take(self, index: NDArray[np.intp]) -> "Quality":
        """Of the faces at `index`, in that order."""
        columns = (self.face_size_px, self.sharpness, self.exposure, self.yaw_deg, self.pitch_deg, self.roll_deg)
        return Quality(*(column[index] for column in columns))


@dataclass(frozen=True, slots=True)
class Predictions:
    """The network's predictions for each aligned face."""

    probabilities: NDArray[np.float32]
    """(N, 8) calibrated, in the order of `labels.EXPRESSIONS`; 4 decimals, each row sums to 1."""
    expression: NDArray[np.int64]
    """(N,) index of the largest probability, the first one on a tie."""
    confidence: NDArray[np.float32]
    """(N,) the largest probability."""
    entropy: NDArray[np.float32]
    """(N,) Shannon entropy of the row divided by ln 8: 0 is certain, 1 is uniform."""
    needs_review: NDArray[np.bool_]
    """(N,) whether a person should look."""
    novelty: NDArray[np.float32] | None = None
    """(N,) in [0, 1], higher is less like training (see `models.novelty`); None of a model that does not say it."""

    def __len__(self) -> int:
        return len(self.confidence)

    def take(self, index: NDArray[np.intp]) -> "Predictions":
        """Of the faces at `index`, in that order."""
        return Predictions(
            self.probabilities[index],
            self.expression[index],
            self.confidence[index],
            self.entropy[index],
            self.needs_review[index],
            None if self.novelty is None else self.novelty[index],
        )

    @classmethod
    def joined(cls, parts: Sequence["Predictions"]) -> "Predictions":
        """One record after another."""
        zero = np.zeros(0, np.float32)
        every = [cls(np.zeros((0, len(EXPRESSIONS)), np.float32), np.zeros(0, np.int64), zero, zero, np.zeros(0, np.bool_), zero), *parts]
        novelty = [part.novelty for part in every if part.novelty is not None]
        return cls(
            np.concatenate([part.probabilities for part in every]),
            np.concatenate([part.expression for part in every]),
            np.concatenate([part.confidence for part in every]),
            np.concatenate([part.entropy for part in every]),
            np.concatenate([part.needs_review for part in every]),
            np.concatenate(novelty) if len(novelty) == len(every) else None,
        )
