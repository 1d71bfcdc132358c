"""Five points -> similarity transform -> 112x112 face on the ArcFace template."""

from contextlib import suppress
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.types import CROP_SIZE, Faces

TEMPLATE: Final[NDArray[np.float32]] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float32,
)
"""(5, 2) positions of the five points in a 112x112 crop of ArcFace (Deng et al., CVPR 2019)."""

WIDEST: Final = 4096
"""Of pictures with a longer side the warp gets the face's surroundings only: OpenCV takes none above 32,766 px, and OpenCV 5 places pixels
less exactly the further they are from the origin."""


def similarity(points: NDArray[np.float32], template: NDArray[np.float32] = TEMPLATE) -> NDArray[np.float64]:
    """Least-squares similarity that carries `points` onto `template`.

    Umeyama's closed form (IEEE TPAMI 13(4), 1991) without reflection; in the plane it is one complex division:
    with centred points p and targets q as complex numbers, a = sum(conj(p) q) / sum(|p|^2), q = a p + b.

    points: (5, 2) pixels. Returns (2, 3) affine matrix, float64. Points that coincide or are not finite have no similarity: ValueError.
    """
    if not np.isfinite(points).all():
        raise ValueError("a point is not finite")
    p = points[:, 0].astype(np.float64) + 1j * points[:, 1].astype(np.float64)
    q = template[:, 0].astype(np.float64) + 1j * template[:, 1].astype(np.float64)
    centred = p - p.mean()
    spread = float(np.sum(np.abs(centred) ** 2))
    if spread < 1e-12:
        raise ValueError("the five points coincide")
    a = complex(np.sum(np.conj(centred) * (q - q.mean())) / spread)
    b = complex(q.mean() - a * p.mean())
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align(pixels: NDArray[np.uint8], faces: Faces) -> NDArray[np.uint8]:
    """Crop every face of one image.

    pixels: (H, W, 3) RGB uint8, or (H, W) luma. Returns (N, 112, 112, 3) RGB uint8, or (N, 112, 112). Pixels outside
    the image repeat its border.
    Faces of more than twice the crop are shrunk by an area filter first, so that the one bilinear resampling does not alias.
    Five points that coincide or are not finite give a black crop.
    """
    crops = np.empty((len(faces), CROP_SIZE, CROP_SIZE, *pixels.shape[2:]), np.uint8)
    for index in range(len(faces)):
        crops[index] = align_one(pixels, faces.points[index])
    return crops


def align_one(pixels: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Crop one face: (H, W, 3) RGB uint8 or (H, W) luma, and (5, 2) points -> (112, 112, 3) RGB uint8 or (112, 112). See `align`."""
    try:
        matrix = similarity(points)
    except ValueError:
        return np.zeros((CROP_SIZE, CROP_SIZE, *pixels.shape[2:]), np.uint8)
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale < 0.5:
        pixels, matrix = _shrunk(pixels, matrix, scale)
    elif max(pixels.shape) > WIDEST:
        pixels, matrix = _surroundings(pixels, matrix, scale)
    warped = cv2.warpAffine(pixels, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def with_luma(crops: NDArray[np.uint8], luma: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 112, 112, 3) RGB and the (N, 112, 112) luma of finer crops of the same faces -> that luma in the colours of the crops.

    As JPEG does, which keeps colours at half the resolution or less: Y, Cb and Cr of ITU-R BT.601. The luma of the result differs from
    the given one by rounding, and where a colour is cut off at 0 or 255.
    """
    finer = np.empty_like(crops)
    for index, (crop, wanted) in enumerate(zip(crops, luma, strict=True)):
        parts = cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb)
        parts[..., 0] = wanted
        finer[index] = cv2.cvtColor(parts, cv2.COLOR_YCrCb2RGB)
    return finer


def scales(faces: Faces) -> NDArray[np.float64]:
    """(N,) crop pixels a picture pixel of each face; 0 where its points have no similarity."""
    found = np.zeros(len(faces))
    for index, points in enumerate(faces.points):
        with suppress(ValueError):
            found[index] = np.hypot(*similarity(points)[:, 0])
    return found


def _surroundings(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of the picture that the crop shows, two crop pixels around it included, and the similarity for that part."""
    corners = np.array([[0, 0, 1], [CROP_SIZE, 0, 1], [0, CROP_SIZE, 1], [CROP_SIZE, CROP_SIZE, 1]], np.float64)
    reached = corners @ cv2.invertAffineTransform(matrix).T
    height, width = pixels.shape[:2]
    margin = 2.0 / scale
    x0, y0 = np.clip(np.floor(reached.min(axis=0) - margin), 0, [width - 1, height - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(reached.max(axis=0) + margin), [x0 + 1, y0 + 1], [width, height]).astype(int)
    shift = np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1]])
    return pixels[y0:y1, x0:x1], np.asarray(matrix @ shift, np.float64)


def _shrunk(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], scale: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The face's surroundings at about the crop's own resolution, and the similarity for it."""
    window, matrix = _surroundings(pixels, matrix, scale)
    height, width = window.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(window, size, interpolation=cv2.INTER_AREA)
    # resize maps pixel centres, x' + 0.5 = (x + 0.5) * r, so the half pixels belong into the matrix
    rx, ry = width / size[0], height / size[1]
    upscale = np.array([[rx, 0, 0.5 * rx - 0.5], [0, ry, 0.5 * ry - 0.5], [0, 0, 1]])
    return np.asarray(small, np.uint8), np.asarray(matrix @ upscale, np.float64)
