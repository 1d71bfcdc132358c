"""Frame the faces of a training set exactly as labelling frames them: same detector, same aligner."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.align.aligner import align_one
from fer_core.detect.base import Detector

ENLARGED_SIDE: Final = 192
"""Loose crops smaller than this are enlarged to it: detectors do not find 48 px faces that fill their picture."""
PADDING: Final = 1 / 3
"""Border added on every side, in parts of the enlarged picture: detectors expect surroundings."""


@dataclass(frozen=True, slots=True)
class Enlarged:
    """A small picture enlarged for a detector, and the inverse mapping."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    factors: tuple[float, float]
    """Enlargement of width and of height: they differ a little where a side is rounded to whole pixels."""
    padding: int
    """Border on each side, pixels of `pixels`."""

    def back(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """(..., 2) points in `pixels` -> points in the original picture (pixel centres at whole numbers)."""
        return np.asarray((points - self.padding + 0.5) / np.array(self.factors) - 0.5, np.float32)


def enlarge(pixels: NDArray[np.uint8]) -> Enlarged:
    """(H, W, 3) RGB of one loosely cropped face -> enlarged where small, with its border repeated outwards."""
    height, width = pixels.shape[:2]
    factor = max(1.0, ENLARGED_SIDE / max(height, width))
    if factor > 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    pad = round(PADDING * max(pixels.shape[:2]))
    factors = (pixels.shape[1] / width, pixels.shape[0] / height)
    return Enlarged(cv2.copyMakeBorder(pixels, pad, pad, pad, pad, cv2.BORDER_REPLICATE).astype(np.uint8), factors, pad)


def find_points(pixels: NDArray[np.uint8], detector: Detector, side: int | None = None) -> NDArray[np.float32] | None:
    """Five points (5, 2) of the face in a loose crop (H, W, 3) RGB, or None. Of several faces the large central one.

    side: see `Detector`.
    """
    big = enlarge(pixels)
    faces = detector.detect(big.pixels, side)
    if len(faces) == 0:
        return None
    centre = np.array([big.pixels.shape[1], big.pixels.shape[0]]) / 2
    middle = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
    size = faces.boxes[:, 2] - faces.boxes[:, 0]
    best = int(np.argmax(size - np.hypot(*(middle - centre).T)))
    return big.back(faces.points[best])


def mean_points(found: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 5, 2) points relative to picture size -> (5, 2), the average framing of the set: the median face."""
    if len(found) == 0:
        # No face was found in the whole set: take FER2013's framing, whose median points (by YuNet, in parts of the side) these are
        return np.array([[0.315, 0.382], [0.679, 0.382], [0.487, 0.598], [0.351, 0.749], [0.645, 0.750]], np.float32)
    return np.asarray(np.median(found, axis=0), np.float32)


def frame(pixels: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB and (5, 2) points -> (112, 112, 3) RGB, by the aligner that labelling uses."""
    return align_one(pixels, points)
