"""What the detectors are measured on: pictures with boxes, eyes, head yaw or five points that people set."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.types import Faces

AFW_SIDE = 640
"""Longest side to which AFW's pictures are shrunk or enlarged before any detector sees them."""
HALF_PROFILE = 45.0
"""Degrees of yaw; AFW is annotated in steps of 15 degrees, so faces below it are those up to 30."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture whose faces are all annotated, as far as anyone can tell."""

    name: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    boxes: NDArray[np.float64]
    """(N, 4) x0, y0, x1, y1."""
    eyes: NDArray[np.float64]
    """(N, 2, 2) centre of the left eye, then of the right one; NaN where one cannot be seen."""
    yaw: NDArray[np.float64]
    """(N,) degrees, positive when the face turns towards the right edge of the picture, as in `types.Quality`; NaN where not annotated."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture of which one face has five annotated points."""

    name: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    points: NDArray[np.float64]
    """(5, 2) as in `types.Faces`."""


@dataclass(frozen=True, slots=True)
class Truth:
    """All of it."""

    afw: list[Scene]
    """At `AFW_SIDE`."""
    photographs: list[Scene]
    """As large as they are."""
    helen: list[Portrait]


def load(data: Path) -> Truth:
    """Everything below DATA/photos."""
    photos = data / "photos"
    annotated = json.loads((photos / "afw" / "annotations.json").read_text())
    boxed = json.loads((photos / "boxes_xyxy.json").read_text())
    five = json.loads((photos / "helen5" / "five_points.json").read_text())
    return Truth(
        [_afw(photos / "afw" / name, value) for name, value in annotated.items()],
        [_photograph(photos / name, boxes) for name, boxes in boxed.items()],
        [Portrait(name, _read(photos / "helen5" / name), np.array(points, np.float64)) for name, points in five.items()],
    )


def ordered(eyes: Floats) -> NDArray[np.float64]:
    """(N, 2, 2) eye centres -> the left one (smaller x, no head here lies on its side) first, as detectors give them.

    All 182 pairs of AFW come in this order already, and none fits the points that YuNet finds better when swapped.
    """
    eyes = np.asarray(eyes, np.float64).reshape(-1, 2, 2)
    swapped = eyes[:, 0, 0] > eyes[:, 1, 0]  # never true for NaN
    return np.where(swapped[:, None, None], eyes[:, ::-1], eyes)


def _afw(file: Path, annotated: dict[str, Any]) -> Scene:
    """AFW's yaw has the sign of `quality.head_pose`: mean absolute error of YuNet's points 8 degrees, 54 with the sign turned."""
    whole = _read(file)
    scale = AFW_SIDE / max(whole.shape[:2])
    size = round(whole.shape[1] * scale), round(whole.shape[0] * scale)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    look = np.asarray(cv2.resize(whole, size, interpolation=method), np.uint8)
    back = whole.shape[1] / size[0], whole.shape[0] / size[1]
    boxes = np.array(annotated["boxes_xyxy"], np.float64).reshape(-1, 4) / np.tile(back, 2)
    pose = np.array(annotated["pose_yaw_pitch_roll_rad"], np.float64).reshape(-1, 3)
    yaw = np.degrees(pose[:, 0]).round(1)  # whole steps of 15 degrees, whatever radians make of them
    return Scene(file.name, look, boxes, ordered(np.array(annotated["eyes_xyxy"], np.float64)) / back, yaw)


def _photograph(file: Path, boxes: list[list[float]]) -> Scene:
    count = len(boxes)
    unknown = np.full((count, 2, 2), np.nan)
    return Scene(file.name, _read(file), np.array(boxes, np.float64).reshape(-1, 4), unknown, unknown[:, 0, 0])


def _read(file: Path) -> NDArray[np.uint8]:
    """RGB. FileNotFoundError: there is no such picture."""
    pixels = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise FileNotFoundError(f"no picture: {file}")
    return np.asarray(pixels, np.uint8)


def shorter_sides(boxes: Floats) -> Floats:
    """(N, 4) -> (N,)."""
    return np.asarray((boxes[:, 2:] - boxes[:, :2]).min(axis=1))


def kept(faces: Faces, least: float) -> Faces:
    """The faces whose shorter side is at least `least` pixels."""
    return faces.take(np.flatnonzero(shorter_sides(faces.boxes) >= least))
