"""SCRFD with five points through insightface (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022).

InsightFace's models are for non-commercial research only.
"""

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import clean_detections, nms
from fer_core.detect.image_pyramid import LIMIT_SIDE, MAX_SIDE, finest_side, halved, pyramid_levels, shrinkable_side, tiles
from fer_core.detect.image_pyramid import REVISION as PYRAMID
from fer_core.detect.onnx_file import with_any_size
from fer_core.detect.upright_rule import UprightRule
from fer_core.errors import DetectorError
from fer_core.hashing import file_sha256
from fer_core.types import Faces

SCORE_THRESHOLD: Final = 0.4
UPRIGHT: Final = UprightRule(trusted=0.77, turned_score=0.65)
"""Chosen on muxspace and AFW, upright and turned (docs/explanation/detector.md). Many faces that lie on their side have
the right points anyway."""
NMS_THRESHOLD: Final = 0.4
STRIDE: Final = 32
"""Pictures are padded with black, right and below, to whole cells of the coarsest feature map."""
LOOKS: Final = 3
"""Pyramid levels at least: fine, half and quarter, for small, usual and very large faces. The network misses faces above about 500 px."""
OUTPUTS: Final = 9
"""Scores, boxes and points at strides 8, 16 and 32."""


class Scrfd:
    """A `Detector` over one SCRFD file with five points. `name` is part of its identity."""

    upright = UPRIGHT

    def __init__(self, file: Path, name: str = "scrfd") -> None:
        if not file.is_file():
            raise DetectorError(f"detector file not found: {file}")
        self._model, self.largest_side = _load(file), shrinkable_side()
        self.identity = f"{name}-{file_sha256(file)[:12]}-t{SCORE_THRESHOLD:g}-n{NMS_THRESHOLD:g}-l{LOOKS}-s{MAX_SIDE}-p{PYRAMID}"

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        """(H, W, 3) RGB uint8 -> faces in its pixels. side: see `Detector`."""
        height, width = pixels.shape[:2]
        found = []
        for look, back in pyramid_levels(pixels, halved(side or finest_side(height, width), LOOKS, LIMIT_SIDE // 4)):
            for tile in tiles(look, back):
                scores, boxes, points = (np.concatenate(levels) for levels in self._model.forward(_padded(tile.pixels), SCORE_THRESHOLD))
                rows = np.concatenate([boxes.reshape(-1, 4), points.reshape(-1, 10), scores.reshape(-1, 1)], axis=1)
                found.append(tile.placed(np.asarray(rows, np.float32)))
        rows = np.concatenate(found)
        rows = rows[nms(rows[:, :4], rows[:, 14], NMS_THRESHOLD)]
        return clean_detections(rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14], width, height)


def _padded(look: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB -> BGR with sides that are multiples of the stride."""
    height, width = look.shape[:2]
    framed = cv2.copyMakeBorder(cv2.cvtColor(look, cv2.COLOR_RGB2BGR), 0, -height % STRIDE, 0, -width % STRIDE, cv2.BORDER_CONSTANT)
    return np.asarray(framed, np.uint8)


def _load(file: Path) -> Any:  # noqa: ANN401  (insightface is untyped)
    """insightface's model on one thread: workers are the parallelism, and one thread gives the same result each time."""
    try:
        with _silence():
            import onnxruntime
            from insightface.model_zoo.scrfd import SCRFD
    except ImportError as error:
        raise DetectorError(f"SCRFD needs the packages insightface and onnxruntime: {error}") from error
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_mem_pattern = False  # a plan for every picture size would only fill memory
    options.log_severity_level = 4
    try:
        with _silence():
            session = onnxruntime.InferenceSession(with_any_size(file), options, providers=["CPUExecutionProvider"])
            model = SCRFD(model_file=None, session=session, static_shape_sessions=False)
            if len(session.get_outputs()) != OUTPUTS:
                raise ValueError("not nine outputs")
            model.forward(np.zeros((2 * STRIDE, 3 * STRIDE, 3), np.uint8), SCORE_THRESHOLD)  # other networks fail here at the latest
    except Exception as error:  # onnx and onnxruntime raise bare exceptions of many kinds for a file they cannot use
        raise DetectorError(f"not an SCRFD file with five points that onnxruntime can read: {file}") from error
    return model


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress output and warnings of insightface and its imports: none of them concerns the user's pictures."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
