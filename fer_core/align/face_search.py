"""How the pictures of a run are searched, by the smallest face that it looks for: the sizes to decode at, to detect at and to cut from.

Runs of earlier releases looked for faces from 16 px on, in the picture at its own size; resuming or relabelling them keeps that rule.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.decode.min_face import Look, MinFace, Reduction, crop_reduction, not_above
from fer_core.run.configuration import RunConfig
from fer_core.types import Picture

EARLIER_FINE: Final = 0.5
"""Crop pixels a picture pixel up to which earlier releases cut faces from a reduced picture; the others from one decoded in full."""
FINE: Final = 1.0
"""The same now: a crop has a pixel of its own for each of its pixels."""


@dataclass(frozen=True, slots=True)
class FaceSearch:
    """The rule of one run."""

    min_face: MinFace | None
    """None: that of earlier releases."""
    earlier_px: float
    """Smallest face of that rule."""
    detector_side: int | None = None
    """With that rule, longer pictures may come reduced to this; see `FaceExtractor.side`."""
    luma_again: bool = False
    """Whether a second decode is of luma alone."""

    @classmethod
    def of(cls, config: RunConfig, detector_side: int | None) -> "FaceSearch":
        """The rule of a run. UsageError: its smallest face is none."""
        smallest = None if config.min_face is None else MinFace.of_run(config.min_face, config.finest_px)
        return cls(smallest, config.min_face_px, detector_side, config.second_decode is not None)

    @property
    def reduction(self) -> Reduction:
        """What the sides of a picture are divided by when it is decoded for the detector."""
        return not_above(self.detector_side) if self.min_face is None else self.min_face.reduction

    def smallest(self, picture: Picture) -> float:
        """Shortest box side that counts, in pixels of the photograph."""
        return self.earlier_px if self.min_face is None else self.min_face.pixels(max(picture.width, picture.height))

    def look(self, picture: Picture) -> Look:
        """How the detector processes a picture that was decoded for it."""
        least, sizes = self.smallest(picture) / max(picture.reduction), (picture.width, picture.height)
        return Look(least, None if self.min_face is None else self.min_face.finest_side(max(sizes), min(sizes)))

    def coarse(self, scales: NDArray[np.float64]) -> NDArray[np.intp]:
        """Indices of the faces that a reduced picture shows too coarsely for their crops. scales: (N,) crop pixels a pixel of it."""
        return np.flatnonzero(scales > (EARLIER_FINE if self.min_face is None else FINE))

    def second_reduction(self, scales: NDArray[np.float64], picture: Picture) -> int:
        """What the sides are divided by when a picture is decoded again for such faces. scales: (N,) crop pixels a photograph's pixel."""
        sizes = (picture.width, picture.height)
        return 1 if self.min_face is None else crop_reduction(scales.tolist(), max(sizes), min(sizes))
