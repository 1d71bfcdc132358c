"""From decoded pictures to aligned faces: one picture after another on a CPU, or many together on a device that gains by it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.protocol import Detector
from fer_core.stopwatch import Stopwatch
from fer_core.types import Faces


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen in one picture."""

    faces: Faces
    """Those that are large enough, in the picture's pixels, by falling score."""
    crops: NDArray[np.uint8]
    """(N, 112, 112, 3) RGB, as `align` cuts them."""


class Looker(Protocol):
    """Finds and aligns the faces of several pictures."""

    pictures: int
    """How many it likes to be given at a time. What it says of each does not depend on the others."""

    def look(self, pictures: Sequence[NDArray[np.uint8]], min_face_px: float, watch: Stopwatch, /) -> list[Looked]:
        """(H, W, 3) RGB uint8 each, of any sizes -> what is seen in each. min_face_px: shortest box side that counts.

        watch: told what went into `detect` and what into `align`.
        """
        ...


class OneByOne:
    """A `Looker` over a `Detector`."""

    pictures = 1

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def look(self, pictures: Sequence[NDArray[np.uint8]], min_face_px: float, watch: Stopwatch) -> list[Looked]:
        """See `Looker`."""
        return [self._one(pixels, min_face_px, watch) for pixels in pictures]

    def _one(self, pixels: NDArray[np.uint8], min_face_px: float, watch: Stopwatch) -> Looked:
        from fer_core.align import align  # noqa: PLC0415  (loads OpenCV; importing the shard must stay quick)

        with watch.stage("detect"):
            faces = large_enough(self._detector.detect(pixels), min_face_px)
        with watch.stage("align"):
            return Looked(faces, align(pixels, faces))


def large_enough(faces: Faces, min_face_px: float) -> Faces:
    """The faces whose shorter box side is long enough, by falling score; equal scores stay in the detector's order."""
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    large = np.flatnonzero(sides >= min_face_px)
    return faces.take(large[np.argsort(-faces.scores[large], kind="stable")])
