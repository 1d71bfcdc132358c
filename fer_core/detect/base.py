"""The protocol of face detectors, and the post-processing that all of them share."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.types import Faces

Floats = NDArray[np.floating[Any]]


class Detector(Protocol):
    """Detects the faces of one image. Not thread-safe unless a detector's text says so: one instance a thread."""

    identity: str
    """Names all that changes its results: kind, digest of the file, thresholds, working size. Never a path."""

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        """(H, W, 3) RGB uint8 -> faces in its pixels, as `clean_detections` leaves them.

        side: longest side of the finest pyramid level, see `min_face`; None: the detector chooses. A box is the face from brows to chin as
        WIDER FACE annotates it. The same pixels always give the same faces.
        """
        ...


def clean_detections(boxes: Floats, points: Floats, scores: Floats, width: int, height: int) -> Faces:
    """Raw detections of one image of `width` x `height` pixels -> `Faces`.

    boxes: (N, 4) x0, y0, x1, y1; points: (N, 5, 2); scores: (N,). Dropped are faces with a number that is not finite and boxes that
    cover less than one pixel of the image in either direction. Boxes are clipped to the image, points are not (an eye may lie outside);
    scores are clipped to [0, 1]. Sorted by falling score; ties by x0, then y0.
    """
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(points).all(axis=(1, 2)) & np.isfinite(scores)
    inside = np.clip(boxes[finite], 0, np.array([width, height, width, height])).astype(np.float32)
    points, scores = points[finite].astype(np.float32), np.clip(scores[finite], 0, 1).astype(np.float32)
    sides = inside[:, 2:] - inside[:, :2]
    kept = np.flatnonzero((sides >= 1).all(axis=1))
    order = kept[np.lexsort((inside[kept, 1], inside[kept, 0], -scores[kept]))]
    return Faces(inside[order], points[order], scores[order])


def box_iou(boxes: Floats, others: Floats) -> NDArray[np.float64]:
    """Intersection over union of every box with every other: (N, 4), (M, 4) -> (N, M). Empty boxes overlap nothing."""
    return iou(np.asarray(boxes, np.float64)[:, None], np.asarray(others, np.float64)[None])


def iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of boxes with boxes, (..., 4) each, broadcast. Empty boxes overlap nothing."""
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    union = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1]) + (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1]) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0), np.float64)


def nms(boxes: Floats, scores: Floats, overlap: float) -> NDArray[np.intp]:
    """Non-maximum suppression, greedy: indices by falling score of the boxes that overlap no better one by `overlap` or more.

    boxes: (N, 4); scores: (N,). Ties by x0, then y0.
    """
    waiting = np.lexsort((boxes[:, 1], boxes[:, 0], -scores))
    kept: list[int] = []
    while len(waiting):
        kept.append(int(waiting[0]))
        rest = waiting[1:]
        waiting = rest[box_iou(boxes[waiting[:1]], boxes[rest])[0] < overlap]
    return np.array(kept, np.intp)
