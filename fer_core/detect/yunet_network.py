"""YuNet's network by ONNX Runtime, and its outputs as OpenCV's `FaceDetectorYN` reads them.

OpenCV itself plans the network anew whenever the size of its input changes, which it does twice an image here.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.onnx_file import with_any_size
from fer_core.models.onnx_builder import Model, Session

STRIDES: Final = (8, 16, 32)
"""Pixels between neighbouring cells of each grid."""
KINDS: Final = ("cls", "obj", "bbox", "kps")
LARGEST: Final = 16.0
"""Logarithm of the largest side in strides that a box can have: keeps `exp` finite on pictures of one colour."""

Floats = NDArray[np.float32]


class YuNetNetwork:
    """Thread-safe. An exception of any kind: the file is another network."""

    def __init__(self, file: Path) -> None:
        self._outputs = tuple(f"{kind}_{stride}" for stride in STRIDES for kind in KINDS)
        self._session = Session(Model(with_any_size(file), self._outputs), "input")

    def __call__(self, picture: NDArray[np.uint8]) -> Floats:
        """(H, W, 3) BGR -> (cells, 15) x0, y0, x1, y1, five points, score, in its pixels."""
        height, width = picture.shape[:2]
        padded = np.zeros((1, 3, _multiple(height), _multiple(width)), np.float32)
        padded[0, :, :height, :width] = picture.transpose(2, 0, 1)
        values = dict(zip(self._outputs, self._session(padded), strict=True))
        return np.concatenate([_cells([values[f"{kind}_{stride}"][0] for kind in KINDS], stride, padded.shape[3]) for stride in STRIDES])


def _cells(values: list[Floats], stride: int, width: int) -> Floats:
    """Outputs of one grid: (n, 1) class score, (n, 1) object score, (n, 4) box, (n, 10) points -> (n, 15)."""
    classes, objects, box, points = values
    row, column = np.divmod(np.arange(len(box)), width // stride)
    cell = np.stack([column, row], axis=1).astype(np.float32)
    half = np.exp(np.minimum(box[:, 2:], LARGEST)) * stride / 2
    centre = (cell + box[:, :2]) * stride
    places = (points.reshape(-1, 5, 2) + cell[:, None]) * stride
    score = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))
    return np.concatenate([centre - half, centre + half, places.reshape(-1, 10), score], axis=1).astype(np.float32)


def _multiple(side: int) -> int:
    """The side rounded up to whole cells of the coarsest grid."""
    return -(-side // STRIDES[-1]) * STRIDES[-1]
