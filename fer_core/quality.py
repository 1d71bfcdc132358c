"""How good a look at a face the picture gives: size, sharpness, head pose. It marks; nothing is dropped for it."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.types import Faces, Quality

MODEL: Final[NDArray[np.float64]] = np.array([[-32, -30, 0], [32, -30, 0], [0, 8, -24], [-25, 40, -2], [25, 40, -2]], np.float64)
"""(5, 3) a plain adult head in round millimetres, pupils 64 mm apart: eyes, nose tip, mouth corners; x right, y down,
z away from the camera."""
SHARP_SIDE: Final = 48
"""Sharpness is judged at this side, so that a face's size matters only below it."""
HALF_SHARP: Final = 0.12
"""Gradient energy over variance at which sharpness is one half. Faces of AFW then lie between 0.18 and 0.60 (5th to 95th percentile)."""
NOISE: Final = 25.0
"""Grey levels squared added to the variance: the noise of a flat crop is not sharpness."""


def assess(pixels: NDArray[np.uint8], faces: Faces, crops: NDArray[np.uint8]) -> Quality:
    """pixels: (H, W, 3) RGB of the picture; crops: (N, 112, 112, 3) RGB of its faces. N = 0 gives an empty record."""
    del pixels  # the crops show what is judged
    sides = np.maximum(faces.boxes[:, 2:] - faces.boxes[:, :2], 0)
    pose = np.array([head_pose(points) for points in faces.points], np.float32).reshape(-1, 3)
    return Quality(
        face_size_px=np.sqrt(sides[:, 0] * sides[:, 1]).astype(np.float32),
        sharpness=np.array([sharpness(crop) for crop in crops], np.float32),
        yaw_deg=pose[:, 0],
        pitch_deg=pose[:, 1],
        roll_deg=pose[:, 2],
    )


def sharpness(crop: NDArray[np.uint8]) -> float:
    """(112, 112, 3) RGB -> 0 (blurred or flat) to 1: r / (r + HALF_SHARP), r = mean squared gradient over variance, at 48x48 luma.

    Brightness does not change the ratio, contrast hardly.
    """
    grey = cv2.resize(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (SHARP_SIDE, SHARP_SIDE), interpolation=cv2.INTER_AREA).astype(np.float64)
    energy = (np.square(np.diff(grey, axis=0)).mean() + np.square(np.diff(grey, axis=1)).mean()) / 2
    ratio = energy / (grey.var() + NOISE)
    return float(ratio / (ratio + HALF_SHARP))


def head_pose(points: NDArray[np.float32]) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees from five points (5, 2), in the signs of `types.Quality`; zeros where the points coincide.

    Scaled orthographic projection: the least-squares affine map from `MODEL` onto the points is brought to the nearest pair of orthonormal
    rows (SVD).
    Roll is the direction of the eye axis in the picture; yaw and pitch are those of the face's normal once roll is undone. Mean absolute
    yaw error on AFW: 11 degrees (YuNet's points; annotated in 15 degree steps).
    """
    model = MODEL - MODEL.mean(axis=0)
    seen = points.astype(np.float64) - points.astype(np.float64).mean(axis=0)
    if not np.isfinite(seen).all() or np.square(seen).sum() < 1e-9:
        return (0.0, 0.0, 0.0)
    affine = np.linalg.lstsq(model, seen, rcond=None)[0].T  # (2, 3)
    left, _, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    roll = np.arctan2(rows[1, 0], rows[0, 0])
    turn = np.array([[np.cos(roll), np.sin(roll)], [-np.sin(roll), np.cos(roll)]])
    upright = turn @ rows
    normal = -np.array([upright[0, 2], upright[1, 2], np.cross(upright[0], upright[1])[2]])
    yaw = np.arctan2(normal[0], -normal[2])
    pitch = np.arcsin(np.clip(-normal[1], -1, 1))
    return (float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll)))
