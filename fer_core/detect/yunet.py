"""YuNet through OpenCV's own post-processing (Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; Apache-2.0)."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.digest import file_sha256
from fer_core.errors import DetectorError
from fer_core.types import Faces

SCORE_THRESHOLD = 0.6
NMS_THRESHOLD = 0.3
MAX_SIDE = 1280
"""Longest side the network sees. Larger pictures are shrunk to it: its smallest face is about 10 px there."""


class YuNet:
    """A `Detector` over one ONNX file."""

    def __init__(self, file: Path, score_threshold: float = SCORE_THRESHOLD, max_side: int = MAX_SIDE) -> None:
        if not file.is_file():
            raise DetectorError(f"detector file not found: {file}")
        try:
            self._net = cv2.FaceDetectorYN.create(str(file), "", (320, 320), score_threshold, NMS_THRESHOLD, 5000)
        except cv2.error as error:
            raise DetectorError(f"not a YuNet file OpenCV can read: {file}") from error
        self._max_side = max_side
        self.identity = f"yunet-{file_sha256(file)[:12]}-t{score_threshold:g}-s{max_side}"

    def detect(self, pixels: NDArray[np.uint8]) -> Faces:
        """(H, W, 3) RGB uint8 -> faces in its pixels."""
        height, width = pixels.shape[:2]
        scale = min(1.0, self._max_side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = pixels if scale == 1.0 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        self._net.setInputSize(size)
        _, rows = self._net.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        if rows is None:
            return Faces.none()
        back = np.array([width / size[0], height / size[1]], np.float32)
        corners = np.concatenate([rows[:, 0:2] * back, (rows[:, 0:2] + rows[:, 2:4]) * back], axis=1)
        points = rows[:, 4:14].reshape(-1, 5, 2) * back
        return Faces(corners.astype(np.float32), points.astype(np.float32), rows[:, 14].astype(np.float32))
