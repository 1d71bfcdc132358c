"""OpenCV's cascades (Viola and Jones, CVPR 2001) as a `Detector`: what `builtin` was before it was trained, kept as a floor to measure by.

They came inside the wheels of opencv-python 4 and are gone from 5. A cascade gives a square and sometimes eyes: box and points are medians
over 804 stock portraits with YuNet's box and points as the truth, turned onto both eyes where both are seen.
"""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import clean_detections, nms
from fer_core.errors import DetectorError
from fer_core.types import Faces

MAX_SIDE: Final = 1024
MIN_SIDE: Final = 24
"""Smallest square in the shrunk picture."""
NMS_THRESHOLD: Final = 0.3
EYE_WINDOW: Final = 160
"""Side at which a face is searched for eyes."""
EYE_REACH: Final = 0.12
"""An eye further than this from its usual place, in parts of the square, is not believed."""
Floats = NDArray[np.float32]

BOX: Final[Floats] = np.array([0.09, -0.04, 0.91, 1.08], np.float32)
"""Face from brows to chin (x0, y0, x1, y1) in parts of the cascade's square."""
POINTS: Final[Floats] = np.array([[0.314, 0.389], [0.686, 0.389], [0.5, 0.614], [0.342, 0.789], [0.658, 0.789]], np.float32)
"""The five points in parts of the cascade's square."""


class Cascade:
    """A `Detector`. DetectorError where the installed OpenCV brings no cascades."""

    def __init__(self) -> None:
        self._face = _load("haarcascade_frontalface_alt2.xml")
        self._second = _load("haarcascade_frontalface_default.xml")
        self._strict = _load("haarcascade_frontalface_alt_tree.xml")
        self._eye = _load("haarcascade_eye_tree_eyeglasses.xml")
        self.identity = f"cascade-3-s{MAX_SIDE}"

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        """(H, W, 3) RGB uint8 -> frontal faces in its pixels. The score is the share of the looks at it that agree: 0.6, 0.8 or 1."""
        height, width = pixels.shape[:2]
        scale = min(1.0, (side or MAX_SIDE) / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if min(size) < MIN_SIDE:
            return Faces.none()
        plain = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        small = cv2.resize(plain, size, interpolation=cv2.INTER_AREA) if scale < 1 else plain
        grey: NDArray[np.uint8] = np.asarray(cv2.equalizeHist(small), np.uint8)
        squares = self._face.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(MIN_SIDE, MIN_SIDE))
        looks = [self._look(grey, np.asarray(square, np.float32)) for square in squares]
        sure = [look for look in looks if look is not None]
        if not sure:
            return Faces.none()
        boxes, points = np.stack([box for box, _, _ in sure]), np.stack([five for _, five, _ in sure])
        scores = np.array([score for _, _, score in sure], np.float32)
        best = nms(boxes, scores, NMS_THRESHOLD)
        back = np.array([width / size[0], height / size[1]], np.float32)
        return clean_detections(boxes[best] * np.tile(back, 2), points[best] * back, scores[best], width, height)

    def _look(self, grey: NDArray[np.uint8], square: Floats) -> tuple[Floats, Floats, float] | None:
        """Box (4,), five points (5, 2) and score of a square (x, y, side, side), or None where nothing else confirms a face."""
        surroundings = _window(grey, square, margin=0.25, side=128)
        eyes = self._eyes(grey, square)
        strict = _fires(self._strict, surroundings)
        seen = sum(eye is not None for eye in eyes)
        if not (seen or strict) or not _fires(self._second, surroundings):
            return None
        box = (square[:2] + square[2:] * BOX.reshape(2, 2)).reshape(-1)
        return box, _laid_through(square[:2] + POINTS * square[2], eyes), (2 + seen + strict) / 5

    def _eyes(self, grey: NDArray[np.uint8], square: Floats) -> tuple[Floats | None, Floats | None]:
        """Centres (2,) of the left and of the right eye, each None unless one is seen near its usual place."""
        window = _window(grey, square, margin=0, side=EYE_WINDOW)
        squares = self._eye.detectMultiScale(window[: round(0.65 * EYE_WINDOW)], scaleFactor=1.05, minNeighbors=3, minSize=(20, 20))
        if len(squares) == 0:
            return None, None
        found = np.asarray(squares, np.float32)
        centres = np.asarray((found[:, :2] + found[:, 2:] / 2) / EYE_WINDOW, np.float32)
        return _nearest(centres, square, POINTS[0]), _nearest(centres, square, POINTS[1])


def _window(grey: NDArray[np.uint8], square: Floats, margin: float, side: int) -> NDArray[np.uint8]:
    """(side, side) of a square and `margin` of its side around; what lies outside the picture repeats its border."""
    scale = side / (float(square[2]) * (1 + 2 * margin))
    origin = square[:2] - margin * square[2]
    matrix = np.array([[scale, 0, -origin[0] * scale], [0, scale, -origin[1] * scale]], np.float64)
    return np.asarray(cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _fires(cascade: "cv2.CascadeClassifier", surroundings: NDArray[np.uint8]) -> bool:
    """Whether a face cascade sees a face of about the right size."""
    return len(cascade.detectMultiScale(surroundings, scaleFactor=1.05, minNeighbors=2, minSize=(64, 64))) > 0


def _nearest(centres: Floats, square: Floats, usual: Floats) -> Floats | None:
    """The eye nearest to its usual place, in the picture's pixels, unless it is too far away."""
    distance = np.hypot(*(centres - usual).T)
    best = int(distance.argmin())
    return square[:2] + centres[best] * square[2] if distance[best] < EYE_REACH else None


def _laid_through(usual: Floats, eyes: tuple[Floats | None, Floats | None]) -> Floats:
    """The usual five points (5, 2), turned, scaled and moved onto both eyes where both are seen."""
    if eyes[0] is None or eyes[1] is None:
        return usual.astype(np.float32)
    there, seen = usual[:2, 0] + 1j * usual[:2, 1], np.array([complex(eye[0], eye[1]) for eye in (eyes[0], eyes[1])])
    turn = (seen[1] - seen[0]) / (there[1] - there[0])
    moved = (usual[:, 0] + 1j * usual[:, 1] - there.mean()) * turn + seen.mean()
    return np.stack([moved.real, moved.imag], axis=1).astype(np.float32)


def _load(name: str) -> "cv2.CascadeClassifier":
    folder = getattr(getattr(cv2, "data", None), "haarcascades", "")
    file = Path(folder) / name
    cascade = cv2.CascadeClassifier(str(file)) if hasattr(cv2, "CascadeClassifier") and file.is_file() else None
    if cascade is None or cascade.empty():
        raise DetectorError(f"the installed OpenCV brings no {name}; opencv-python 4 does")
    return cascade
