"""From decoded pictures to aligned faces: one picture after another on a CPU, or batches on a GPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.align.face_search import FaceSearch
from fer_core.decode.min_face import Look
from fer_core.detect.base import Detector
from fer_core.detect.quarter_turn import turned_faces, turned_picture
from fer_core.timing import Stopwatch
from fer_core.types import Faces, Picture


@dataclass(frozen=True, slots=True)
class ExtractedFaces:
    """The faces of one picture."""

    faces: Faces
    """Those that are large enough, in the picture's pixels, by falling score."""
    crops: NDArray[np.uint8]
    """(N, 112, 112, 3) RGB, as `align` cuts them."""
    turns: int = 0
    """Quarter turns after which the faces were found, see `turning_extractor`."""


class FaceExtractor(Protocol):
    """Detects and aligns the faces of several pictures."""

    pictures: int
    """Preferred number of pictures a call. The result of each does not depend on the others."""
    side: int | None
    """Longest side beyond which it shrinks a picture first: larger ones may come shrunk. None where it has no such limit."""

    def extract(self, pictures: Sequence[NDArray[np.uint8]], looks: Sequence[Look], watch: Stopwatch, /) -> list[ExtractedFaces]:
        """(H, W, 3) RGB uint8 each, of any sizes -> the faces of each. looks: one a picture.

        watch: gets the seconds of `detect` and of `align`.
        """
        ...


class DecodeAgain(Protocol):
    """Decodes a photograph once more."""

    def __call__(self, reduction: int, /, *, luma: bool) -> Picture:
        """reduction: what its sides are divided by. luma: see `decoder.decode`."""
        ...


class CpuFaceExtractor:
    """A `FaceExtractor` over a `Detector`."""

    pictures = 1

    def __init__(self, detector: Detector, side: int | None = None) -> None:
        self._detector, self.side = detector, side

    def extract(self, pictures: Sequence[NDArray[np.uint8]], looks: Sequence[Look], watch: Stopwatch) -> list[ExtractedFaces]:
        """See `FaceExtractor`."""
        return [self._one(pixels, look, watch) for pixels, look in zip(pictures, looks, strict=True)]

    def _one(self, pixels: NDArray[np.uint8], look: Look, watch: Stopwatch) -> ExtractedFaces:
        from fer_core.align.aligner import align

        with watch.stage("detect"):
            found = self._detector.detect(pixels, look.side)
            faces = found.take(large_enough(found, look.least))
        with watch.stage("align"):
            return ExtractedFaces(faces, align(pixels, faces))


def large_enough(faces: Faces, least: float) -> NDArray[np.intp]:
    """Indices of the faces whose shorter box side is long enough, by falling score; equal scores stay in the detector's order."""
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    large = np.flatnonzero(sides >= least)
    return large[np.argsort(-faces.scores[large], kind="stable")]


def refine_full_size(
    extracted: ExtractedFaces, picture: Picture, search: FaceSearch, decoded_again: DecodeAgain, watch: Stopwatch
) -> ExtractedFaces:
    """The faces of a picture as it came -> the same in the photograph's pixels, without the faces that are too small there.

    Of a picture that came reduced, faces that are large even there keep their crops; for the others it is decoded once more, as fine as
    they need it: its luma, which is what expressions and quality are told from, or all of it (`FaceSearch.luma_again`).
    """
    back = np.array(picture.reduction, np.float32)
    faces = Faces(extracted.faces.boxes * np.tile(back, 2), extracted.faces.points * back, extracted.faces.scores)
    kept = large_enough(faces, search.smallest(picture))
    faces, crops = faces.take(kept), extracted.crops[kept]
    if len(kept) and max(picture.reduction) > 1:
        from fer_core.align.aligner import scales, with_luma

        coarse = search.coarse(scales(extracted.faces.take(kept)))
        if len(coarse):
            again = search.second_reduction(scales(faces.take(coarse)), picture)
            decoded = partial(decoded_again, again, luma=search.luma_again)
            cut = _cut_again(faces.take(coarse), extracted.turns, decoded, watch)
            crops[coarse] = cut if cut.ndim == crops.ndim else with_luma(crops[coarse], cut)
    return ExtractedFaces(faces, crops, extracted.turns)


def _cut_again(faces: Faces, turns: int, decoded_again: Callable[[], Picture], watch: Stopwatch) -> NDArray[np.uint8]:
    """Crops of faces, which are in the photograph's pixels, from another decode of it, turned as they were found: of its luma, or RGB."""
    from fer_core.align.aligner import align

    with watch.stage("decode"):
        picture = decoded_again()
    with watch.stage("align"):
        there = np.array(picture.reduction, np.float32)
        reduced = replace(faces, points=faces.points / there)
        if turns == 0:
            return align(picture.pixels, reduced)
        return align(turned_picture(picture.pixels, turns), turned_faces(reduced, turns, picture.pixels.shape[:2]))
