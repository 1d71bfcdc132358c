"""From decoded pictures to aligned faces: one picture after another on a CPU, or batches on a GPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import Detector
from fer_core.timing import Stopwatch
from fer_core.types import Faces, Picture

FINE: Final = 0.5
"""Crop pixels a picture pixel up to which a face is shrunk by an area filter anyway, so that a shrunk picture gives the same crop."""


@dataclass(frozen=True, slots=True)
class ExtractedFaces:
    """The faces of one picture."""

    faces: Faces
    """Those that are large enough, in the picture's pixels, by falling score."""
    crops: NDArray[np.uint8]
    """(N, 112, 112, 3) RGB, as `align` cuts them."""


class FaceExtractor(Protocol):
    """Detects and aligns the faces of several pictures."""

    pictures: int
    """Preferred number of pictures a call. The result of each does not depend on the others."""
    side: int | None
    """Longest side beyond which it shrinks a picture first: larger ones may come shrunk. None where it has no such limit."""

    def extract(self, pictures: Sequence[NDArray[np.uint8]], min_face_px: float, watch: Stopwatch, /) -> list[ExtractedFaces]:
        """(H, W, 3) RGB uint8 each, of any sizes -> the faces of each. min_face_px: shortest box side that counts.

        watch: gets the seconds of `detect` and of `align`.
        """
        ...


class CpuFaceExtractor:
    """A `FaceExtractor` over a `Detector`."""

    pictures = 1

    def __init__(self, detector: Detector, side: int | None = None) -> None:
        self._detector, self.side = detector, side

    def extract(self, pictures: Sequence[NDArray[np.uint8]], min_face_px: float, watch: Stopwatch) -> list[ExtractedFaces]:
        """See `FaceExtractor`."""
        return [self._one(pixels, min_face_px, watch) for pixels in pictures]

    def _one(self, pixels: NDArray[np.uint8], min_face_px: float, watch: Stopwatch) -> ExtractedFaces:
        from fer_core.align.aligner import align

        with watch.stage("detect"):
            found = self._detector.detect(pixels)
            faces = found.take(large_enough(found, min_face_px))
        with watch.stage("align"):
            return ExtractedFaces(faces, align(pixels, faces))


def large_enough(faces: Faces, min_face_px: float) -> NDArray[np.intp]:
    """Indices of the faces whose shorter box side is long enough, by falling score; equal scores stay in the detector's order."""
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    large = np.flatnonzero(sides >= min_face_px)
    return large[np.argsort(-faces.scores[large], kind="stable")]


def min_detectable_px(pictures: Sequence[Picture], min_face_px: float) -> float:
    """Shortest box side to detect in pictures of which some come shrunk, so that `refine_full_size` gets all that count."""
    return min(min_face_px / max(picture.reduction) for picture in pictures)


def refine_full_size(
    extracted: ExtractedFaces, picture: Picture, min_face_px: float, decoded_again: Callable[[], Picture], watch: Stopwatch
) -> ExtractedFaces:
    """The faces of a picture as it came -> the same in the photograph's pixels, without the faces that are too small there.

    Of a picture that came shrunk, faces that are large even there keep their crops; for the others it is decoded in full, once.
    """
    back = np.array(picture.reduction, np.float32)
    faces = Faces(extracted.faces.boxes * np.tile(back, 2), extracted.faces.points * back, extracted.faces.scores)
    kept = large_enough(faces, min_face_px)
    faces, crops = faces.take(kept), extracted.crops[kept]
    if len(kept) and max(picture.reduction) > 1:
        _refine(crops, extracted.faces.take(kept), faces, decoded_again, watch)
    return ExtractedFaces(faces, crops)


def _refine(crops: NDArray[np.uint8], shrunk: Faces, faces: Faces, decoded_again: Callable[[], Picture], watch: Stopwatch) -> None:
    """Cut faces that a shrunk picture shows too coarsely from the photograph."""
    from fer_core.align.aligner import align, scales

    poor = np.flatnonzero(scales(shrunk) > FINE)
    if len(poor):
        with watch.stage("decode"):
            pixels = decoded_again().pixels
        with watch.stage("align"):
            crops[poor] = align(pixels, faces.take(poor))
