"""The detector that comes with ferflow: a `DetectionNet` trained by benchmarks/detector/training/train.py, over a pyramid of tiles."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import box_iou, clean_detections, nms
from fer_core.detect.builtin.decode_outputs import Rows, rows_from
from fer_core.detect.builtin.identity import LARGEST_SIDE, SCORE_THRESHOLD, identity_of
from fer_core.detect.builtin.refinement import refine_detections
from fer_core.detect.builtin.runtime import load_runtime
from fer_core.detect.builtin.tiling import tile_image
from fer_core.detect.builtin.weights import SHIPPED
from fer_core.detect.image_pyramid import Tile
from fer_core.detect.upright_rule import UprightRule
from fer_core.types import Faces

SMALL: Final = 32.0
LENIENCE: Final = 0.07
"""The threshold is lower by this for faces whose side (square root of the area) is below `SMALL` pixels: a score predicts the overlap of
the box, which is smaller for boxes of few pixels. Chosen with the threshold, on AFW and the eleven WIDER photographs."""
UPRIGHT: Final = UprightRule(trusted=1.34, spread=2.0, turned_score=0.75)
"""Chosen on muxspace, AFW and HELEN, upright and turned (docs/explanation/detector.md). The network draws the points of
other faces together."""
WEAK: Final = 0.2
"""Score from which a place counts for the position of a face, though not for its existence."""
NMS_THRESHOLD: Final = 0.4
AGREEING: Final = 0.6
"""Detections that overlap the best one by so much are averaged with it, weighted by their scores."""
BATCH_PIXELS: Final = 2**22
"""Most pixels of a batch, unless one tile has more: bounds the memory to about half a gigabyte."""
CANDIDATES: Final = 2000
"""Most candidates of a picture, the best ones."""


class BuiltinDetector:
    """A `Detector`, on the GPU for that `device`; the same pixels always give the same faces on the same kind of device."""

    upright = UPRIGHT

    def __init__(
        self,
        file: Path = SHIPPED,
        score_threshold: float = SCORE_THRESHOLD,
        largest_side: int = LARGEST_SIDE,
        device: str = "cpu",
        *,
        quantized: bool = True,
    ) -> None:
        """quantized: whether a CPU searches the pyramid in 8-bit numbers; refinement is in single precision."""
        self._search, self._refine = load_runtime(file, device, quantized=quantized), load_runtime(file, device)
        self._threshold, self.largest_side = score_threshold, largest_side
        self._lowest = max(0.0, score_threshold - LENIENCE)
        self.identity = identity_of(file, score_threshold, largest_side)

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        """(H, W, 3) RGB uint8 -> faces in its pixels. side: see `Detector`."""
        return self.detect_many([pixels], [side])[0]

    def detect_many(self, pictures: Sequence[NDArray[np.uint8]], sides: Sequence[int | None] = ()) -> list[Faces]:
        """Pictures (H, W, 3) RGB uint8 of any sizes -> the faces of each. Tiles of one shape pass the network together.

        sides: see `Detector`, one a picture, or none at all.
        """
        waiting: dict[tuple[int, ...], list[tuple[int, Tile]]] = defaultdict(list)
        found: list[list[Rows]] = [[] for _ in pictures]
        for number, (pixels, side) in enumerate(zip(pictures, sides or [None] * len(pictures), strict=True)):
            for piece in tile_image(pixels, self.largest_side, side):
                alike = waiting[piece.pixels.shape]
                alike.append((number, piece))
                if (len(alike) + 1) * piece.pixels[..., 0].size > BATCH_PIXELS:
                    self._look(waiting.pop(piece.pixels.shape), found)
        for alike in waiting.values():
            self._look(alike, found)
        return [self._joined(rows, pixels) for rows, pixels in zip(found, pictures, strict=True)]

    def _look(self, alike: list[tuple[int, Tile]], found: list[list[Rows]]) -> None:
        """Pass tiles of one shape through the network; detections go to their pictures."""
        rows, pieces_of = rows_from(self._search([piece.pixels for _, piece in alike]), min(WEAK, self._lowest**2))
        for index, (number, piece) in enumerate(alike):
            found[number].append(piece.placed(rows[pieces_of == index]))

    def _joined(self, parts: list[Rows], pixels: NDArray[np.uint8]) -> Faces:
        """Detections in all tiles of a picture -> its faces."""
        rows = np.concatenate(parts)
        rows = rows[np.isfinite(rows).all(axis=1)]
        rows = rows[np.argsort(-rows[:, 14], kind="stable")[:CANDIDATES]]
        kept = nms(rows[:, :4], rows[:, 14], NMS_THRESHOLD)
        promising = kept[rows[kept, 14] >= self._lowest**2]  # what refinement can raise to the threshold
        faces = refine_detections(self._refine, pixels, averaged(rows, promising), self._lowest)
        small = np.sqrt(np.prod(faces[:, 2:4] - faces[:, :2], axis=1)) < SMALL
        faces = faces[faces[:, 14] >= np.where(small, self._lowest, self._threshold)]
        faces = faces[nms(faces[:, :4], faces[:, 14], NMS_THRESHOLD)]  # two that were apart may be one now
        return clean_detections(faces[:, :4], faces[:, 4:14].reshape(-1, 5, 2), faces[:, 14], pixels.shape[1], pixels.shape[0])


def averaged(rows: Rows, kept: NDArray[np.intp]) -> Rows:
    """(N, 15) detections and the indices of the best of each face -> (K, 15): box and points are means of all that agree with it.

    Weighted by score, as in Gidaris and Komodakis' box voting (ICCV 2015). The score stays that of the best.
    """
    weights = np.where(box_iou(rows[kept, :4], rows[:, :4]) >= AGREEING, rows[:, 14], 0)
    out = weights @ rows / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    out[:, 14] = rows[kept, 14]
    return np.asarray(out, np.float32)
