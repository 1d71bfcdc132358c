"""YuNet through ONNX Runtime (Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023; Apache-2.0)."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import clean_detections, nms
from fer_core.detect.image_pyramid import LIMIT_SIDE, MAX_SIDE, finest_side, halved, pyramid_levels, shrinkable_side, tiles
from fer_core.detect.image_pyramid import REVISION as PYRAMID
from fer_core.detect.upright_rule import UprightRule
from fer_core.detect.yunet_network import YuNetNetwork
from fer_core.errors import DetectorError
from fer_core.hashing import file_sha256
from fer_core.types import Faces

SCORE_THRESHOLD = 0.45
"""YuNet scores faces in profile 0.4 to 0.6; most false positives are below (benchmarks/detector/compare.py)."""
UPRIGHT = UprightRule(trusted=0.905, turned_score=0.75)
"""Chosen on muxspace, AFW and HELEN, upright and turned (docs/explanation/detector.md)."""
NMS_THRESHOLD = 0.3
MARGIN = 0.03
"""Black frame around the finest pyramid level, as a share of its longest side: faces cut off by the image border score higher with it."""
CANDIDATES = 5000
LOOKS = 2
"""Pyramid levels at least: faces that fill the picture are found in the second, with better points."""
SMALLEST_SIDE = 4
"""Pixels. No face is smaller."""


class YuNet:
    """A `Detector` over one ONNX file. Thread-safe."""

    upright = UPRIGHT

    def __init__(self, file: Path, score_threshold: float = SCORE_THRESHOLD, max_side: int = MAX_SIDE) -> None:
        if not file.is_file():
            raise DetectorError(f"detector file not found: {file}")
        self._max_side, self.largest_side = max_side, shrinkable_side(max_side)
        try:
            self._network, self._threshold = YuNetNetwork(file), score_threshold
            self.rows(np.zeros((64, 64, 3), np.uint8), 0)  # a network with other outputs fails only when it runs
        except Exception as error:  # onnx and onnxruntime raise bare exceptions of many kinds for a file they cannot use
            raise DetectorError(f"not a YuNet file that ONNX Runtime can read: {file}") from error
        self.identity = f"yunet-{file_sha256(file)[:12]}-t{score_threshold:g}-n{NMS_THRESHOLD:g}-m{MARGIN:g}-s{max_side}-p{PYRAMID}"

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        """(H, W, 3) RGB uint8 -> faces in its pixels. side: see `Detector`.

        Each pyramid level has half the size of the one before; levels that only a given `side` makes so large are cut into tiles.
        """
        height, width = pixels.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            return Faces.none()
        limit = LIMIT_SIDE * self._max_side // MAX_SIDE
        share, found = MARGIN, []
        for look, back in pyramid_levels(pixels, halved(side or finest_side(height, width, self._max_side), LOOKS, limit // 2)):
            found += [tile.placed(self.rows(tile.pixels, round(share * max(tile.pixels.shape[:2])))) for tile in tiles(look, back, limit)]
            share = 0.0
        rows = np.concatenate(found)
        rows = rows[nms(rows[:, :4], rows[:, 14], NMS_THRESHOLD)]
        return clean_detections(rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14], width, height)

    def rows(self, look: NDArray[np.uint8], margin: int) -> NDArray[np.float32]:
        """(h, w, 3) RGB -> (N, 15) x0, y0, x1, y1, five points, score, in its pixels."""
        framed = cv2.copyMakeBorder(cv2.cvtColor(look, cv2.COLOR_RGB2BGR), margin, margin, margin, margin, cv2.BORDER_CONSTANT)
        rows = self._network(np.asarray(framed, np.uint8))
        rows = rows[(rows[:, 14] >= self._threshold) & np.isfinite(rows).all(axis=1)]
        rows = rows[np.argsort(-rows[:, 14], kind="stable")[:CANDIDATES]]
        rows = rows[nms(rows[:, :4], rows[:, 14], NMS_THRESHOLD)]
        rows[:, :14] -= margin
        return rows
