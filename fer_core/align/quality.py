"""Quality of each face in its image: size, sharpness, exposure, and head pose from the five points."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.align.aligner import similarity
from fer_core.types import Faces, Quality

HEAD: Final[NDArray[np.float64]] = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.61, -0.48], [-0.42, 1.08, -0.05], [0.42, 1.08, -0.05]])
"""(5, 3) the five points of a mean head that faces the camera: x right, y down, z away from the camera, eye distance 1.

x and y: median of YuNet's points on 400 stock portraits, whose mean pitch is taken as 0. z: the nose tip stands about 30 mm before pupils
that are 63 mm apart, the mouth corners about 3 mm.
"""

POSE_STEPS: Final = 60
"""The fit gains less than a hundredth of a degree beyond."""

INNER: Final = (slice(24, 108), slice(14, 98))
"""Rows and columns of the aligned crop that show the face and no background."""
BLUR_TAPS: Final = 9
BLURRED: Final = 0.15
"""Lost detail that counts as 0. HELEN's portraits blurred by 15 % of the eye distance lose 0.17."""
SHARP: Final = 0.70
"""Lost detail that counts as 1. HELEN's portraits as they are lose 0.50 to 0.65 (5th to 95th percentile)."""
FLAT: Final = 0.2
"""Mean step between neighbouring pixels, in grey levels, that is added to what is measured: rounding in a blank crop is no detail."""
SMALLEST: Final = 28
"""Smallest side at which sharpness is measured; the moving average needs that much room."""
CELLS: Final = 28
"""Exposure is measured on so many means of 3x3 pixels a side: the detail of a face of 40 px."""
CRUSHED: Final = 16
"""Luma below which 8 bits and JPEG leave nothing to see."""
BLOWN: Final = 240
"""Luma above which the sensor was full, or nearly."""


def assess(faces: Faces, crops: NDArray[np.uint8]) -> Quality:
    """faces: N of any pictures, each in its own picture's pixels; crops: (N, 112, 112, 3) RGB uint8 as `align` cuts them. N may be 0.

    The result of a face does not depend on the others.
    """
    sides = np.maximum(faces.boxes[:, 2:] - faces.boxes[:, :2], 0)
    pose = head_pose(faces.points)
    sharp = [sharpness(crop, points) for crop, points in zip(crops, faces.points, strict=True)]
    return Quality(
        face_size_px=np.sqrt(sides[:, 0] * sides[:, 1]).astype(np.float32),
        sharpness=np.array(sharp, np.float32),
        exposure=np.array([exposure(crop) for crop in crops], np.float32),
        yaw_deg=pose[:, 0],
        pitch_deg=pose[:, 1],
        roll_deg=pose[:, 2],
    )


def sharpness(crop: NDArray[np.uint8], points: NDArray[np.float32]) -> float:
    """How much a crop loses when it is blurred once more: 0 for what is blurred or blank already, 1 for crisp detail all over.

    Linear in one minus the blur effect of Crété-Roffet et al. (SPIE 6492, 2007), in the worse direction, on the inner face. A crop that
    was enlarged is measured at the resolution it had in the picture: a small crisp face is as sharp as a large one. Noise counts as detail.

    crop: (112, 112, 3) RGB uint8; points: (5, 2) pixels of the picture it was cut from.
    """
    grey: NDArray[np.float32] = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[INNER].astype(np.float32)
    side = max(SMALLEST, min(grey.shape[0], round(grey.shape[0] / _enlargement(points))))
    if side < grey.shape[0]:
        grey = np.asarray(cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA), np.float32)
    shares = []
    for axis, taps in ((0, (1, BLUR_TAPS)), (1, (BLUR_TAPS, 1))):
        blurred = cv2.blur(grey, taps, borderType=cv2.BORDER_REFLECT)
        steps, left = np.abs(np.diff(grey, axis=axis)), np.abs(np.diff(blurred, axis=axis))
        lost = np.clip(steps - left, 0, None).mean(dtype=np.float64)
        shares.append(float(lost / (steps.mean(dtype=np.float64) + FLAT)))
    return min(1.0, max(0.0, (min(shares) - BLURRED) / (SHARP - BLURRED)))


def exposure(crop: NDArray[np.uint8]) -> float:
    """How much of the inner face is neither crushed to black nor blown out to white.

    The share of its 28x28 cells whose mean luma is in [16, 240]. Cells, not pixels: catchlights, nostrils and noise do not count, and a
    face has the same exposure at every size. Luma, not the largest channel: skin in warm light fills the red one and still shows all.

    crop: (112, 112, 3) RGB uint8. Returns 0 (nothing can be seen) to 1.
    """
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[INNER].astype(np.float32)
    cells = np.asarray(cv2.resize(grey, (CELLS, CELLS), interpolation=cv2.INTER_AREA), np.float32)
    return float(np.mean((cells >= CRUSHED) & (cells <= BLOWN)))


def _enlargement(points: NDArray[np.float32]) -> float:
    """Crop pixels per picture pixel; 1 where the points have no similarity."""
    try:
        matrix = similarity(points)
    except ValueError:
        return 1.0
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def head_pose(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Yaw, pitch and roll of each head in degrees, (N, 5, 2) -> (N, 3), signs as in `types.Quality`.

    The least-squares scaled orthographic view of `HEAD`: the unseen depths are filled in from the present rotation and the rotation is
    fitted again (Procrustes), until it converges. R = Rz(roll) Ry Rx, so turning the picture changes roll alone. Five points that
    coincide, or are not finite, have no pose: zeros.

    Mean absolute error on AFW (220 faces, YuNet's points, annotated in steps of 15 degrees): yaw 7.8, pitch 9.1; yaw 7.0 up to 45 degrees.
    """
    if len(points) == 0:
        return np.zeros((0, 3), np.float32)
    shape = HEAD - HEAD.mean(axis=0)
    finite: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(points.reshape(-1, 10)), axis=1)
    seen = np.where(finite[:, None, None], points, 0).astype(np.float64)
    seen -= seen.mean(axis=1, keepdims=True)  # (N, 5, 2)
    spread: NDArray[np.float64] = np.sqrt((seen**2).sum(axis=(1, 2)))
    known: NDArray[np.bool_] = np.greater(spread, 1e-6)
    seen = np.where(known[:, None, None], seen, shape[:, :2]) / np.where(known, spread, 1.0)[:, None, None]
    rotation = _nearest_rotation(np.swapaxes(np.linalg.pinv(shape) @ seen, 1, 2))
    for _ in range(POSE_STEPS):
        view = shape @ np.swapaxes(rotation, 1, 2)  # (N, 5, 3) as the camera would see HEAD
        scale = (view[..., :2] * seen).sum(axis=(1, 2)) / (view[..., :2] ** 2).sum(axis=(1, 2))
        filled = np.concatenate([seen, view[..., 2:] * scale[:, None, None]], axis=2)
        rotation = _procrustes(filled, shape)
    yaw = np.arcsin(np.clip(rotation[:, 2, 0], -1, 1))
    pitch = -np.arctan2(rotation[:, 2, 1], rotation[:, 2, 2])
    roll = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    angles = np.degrees(np.stack([yaw, pitch, roll], axis=1))
    return np.where(known[:, None], angles, 0).astype(np.float32)


def _nearest_rotation(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2, 3) scaled first two rows of a rotation, noisy -> (N, 3, 3) rotation."""
    left, _, right = np.linalg.svd(rows, full_matrices=False)
    two = left @ right
    return np.concatenate([two, np.cross(two[:, 0], two[:, 1])[:, None]], axis=1)


def _procrustes(seen: NDArray[np.float64], shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotations (N, 3, 3) that carry `shape` (5, 3) best onto `seen` (N, 5, 3) (Kabsch, 1976)."""
    left, _, right = np.linalg.svd(np.swapaxes(seen, 1, 2) @ shape)
    flip = np.sign(np.linalg.det(left @ right))
    left[:, :, 2] *= flip[:, None]
    return np.asarray(left @ right, np.float64)
