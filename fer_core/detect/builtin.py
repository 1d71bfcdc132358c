"""OpenCV's cascades (Viola and Jones, CVPR 2001), which come inside the opencv-python wheel: nothing to download, frontal faces only.

The cascades give a square and sometimes eyes, not five points. Box and points are therefore derived: the constants below are medians
over the 804 of 882 stock portraits with one face by YuNet on which the cascade found it too, with YuNet's box and points as the truth and
left and right averaged. Of those faces 76 % have both eyes found, 0.02 of the square from YuNet's on average.
"""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.protocol import cleaned, suppressed
from fer_core.errors import DetectorError
from fer_core.types import Faces

MAX_SIDE: Final = 1024
MIN_SIDE: Final = 24
"""Smallest square in the shrunk picture, the cascade's own training size being 20."""
NEIGHBOURS: Final = 5
NMS_THRESHOLD: Final = 0.3
EYE_WINDOW: Final = 160
"""Side at which a face is searched for eyes."""

BOX: Final[NDArray[np.float32]] = np.array([0.09, -0.04, 0.91, 1.08], np.float32)
"""Face from brows to chin (x0, y0, x1, y1) in parts of the cascade's square."""
POINTS: Final[NDArray[np.float32]] = np.array([[0.314, 0.389], [0.686, 0.389], [0.5, 0.614], [0.342, 0.789], [0.658, 0.789]], np.float32)
"""The five points in parts of the cascade's square."""
EYE_REACH: Final = 0.12
"""An eye further than this from its usual place, in parts of the square, is not believed."""


class Cascade:
    """A `Detector` over the wheel's cascades. OpenCV's cascades keep state: one instance a thread."""

    def __init__(self) -> None:
        self._face = _load("haarcascade_frontalface_alt2.xml")
        self._eye = _load("haarcascade_eye_tree_eyeglasses.xml")
        self.identity = f"builtin-cascade-2-s{MAX_SIDE}-n{NEIGHBOURS}"

    def detect(self, pixels: NDArray[np.uint8]) -> Faces:
        """(H, W, 3) RGB uint8 -> frontal faces in its pixels. The score grows with the cascade's weight, 0.5 at its acceptance."""
        height, width = pixels.shape[:2]
        scale = min(1.0, MAX_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if min(size) < MIN_SIDE:
            return Faces.none()
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        grey = np.asarray(cv2.equalizeHist(cv2.resize(grey, size, interpolation=cv2.INTER_AREA) if scale < 1 else grey), np.uint8)
        squares, _, weights = self._face.detectMultiScale3(
            grey, scaleFactor=1.1, minNeighbors=NEIGHBOURS, minSize=(MIN_SIDE, MIN_SIDE), outputRejectLevels=True
        )
        if len(squares) == 0:
            return Faces.none()
        found = np.asarray(squares, np.float32)
        scores = (1 / (1 + np.exp(-np.asarray(weights, np.float32).reshape(-1) / 2))).astype(np.float32)
        origin, side = found[:, None, :2], found[:, None, 2:]
        boxes = (origin + side * BOX.reshape(1, 2, 2)).reshape(-1, 4)
        points = np.stack([self._points(grey, square) for square in found])
        best = suppressed(boxes, scores, NMS_THRESHOLD)
        back = np.array([width / size[0], height / size[1]], np.float32)
        return cleaned(boxes[best] * np.tile(back, 2), points[best] * back, scores[best], width, height)

    def _points(self, grey: NDArray[np.uint8], square: NDArray[np.float32]) -> NDArray[np.float32]:
        """The usual face in the cascade's square, laid through the two eyes where both are seen."""
        usual = square[:2] + POINTS * square[2]
        eyes = self._eyes(grey, square)
        if eyes is None:
            return usual.astype(np.float32)
        # the similarity that carries the usual eyes onto the seen ones, as one complex division
        there, seen = (np.array([complex(*p) for p in pair]) for pair in (usual[:2], eyes))
        turn = (seen[1] - seen[0]) / (there[1] - there[0])
        moved = (usual[:, 0] + 1j * usual[:, 1] - there.mean()) * turn + seen.mean()
        return np.stack([moved.real, moved.imag], axis=1).astype(np.float32)

    def _eyes(self, grey: NDArray[np.uint8], square: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """(2, 2) centres of the left and the right eye, or None unless both are seen near their usual place."""
        x, y, side = (round(float(value)) for value in square[:3])
        window = grey[max(0, y) : y + side, max(0, x) : x + side]
        if min(window.shape) < MIN_SIDE:
            return None
        factor = EYE_WINDOW / side
        large = cv2.resize(window, None, fx=factor, fy=factor, interpolation=cv2.INTER_LINEAR)
        squares = self._eye.detectMultiScale(large[: round(0.65 * EYE_WINDOW)], scaleFactor=1.05, minNeighbors=3, minSize=(20, 20))
        if len(squares) == 0:
            return None
        found = np.asarray(squares, np.float32)
        centres = (found[:, :2] + found[:, 2:] / 2) / EYE_WINDOW
        chosen = [self._nearest(centres, POINTS[eye]) for eye in (0, 1)]
        if chosen[0] is None or chosen[1] is None:
            return None
        return np.stack([chosen[0], chosen[1]]) * side + np.array([max(0, x), max(0, y)], np.float32)

    @staticmethod
    def _nearest(centres: NDArray[np.float32], usual: NDArray[np.float32]) -> NDArray[np.float32] | None:
        distance = np.hypot(*(centres - usual).T)
        best = int(distance.argmin())
        return centres[best] if distance[best] < EYE_REACH else None


def _load(name: str) -> cv2.CascadeClassifier:
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    file = Path(folder) / name
    cascade = cv2.CascadeClassifier(str(file)) if file.is_file() else None
    if cascade is None or cascade.empty():
        raise DetectorError(f"the installed OpenCV brings no {name}; opencv-python 4 does")
    return cascade
