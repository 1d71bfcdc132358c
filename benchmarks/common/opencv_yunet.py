"""YuNet as a short script runs it: OpenCV's own detector on an image that was shrunk to a longest side."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SCORE: Final = 0.6


class OpenCvYuNet:
    """One detector, whose input has at most `side` pixels."""

    def __init__(self, file: Path, side: int) -> None:
        self._detector, self._side = cv2.FaceDetectorYN.create(str(file), "", (side, side), SCORE), side

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) BGR -> (N, 15) x, y, width, height, five points, score, in its pixels."""
        scale = min(1.0, self._side / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        self._detector.setInputSize((small.shape[1], small.shape[0]))
        found = self._detector.detect(small)[1]
        rows: NDArray[np.float32] = np.zeros((0, 15), np.float32) if found is None else np.array(found, np.float32)
        rows[:, :14] /= scale
        return rows
