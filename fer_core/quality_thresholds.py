"""Faces whose quality is too low for a reliable label, whatever the network predicts. They are marked, never dropped."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fer_core.types import Quality


@dataclass(frozen=True, slots=True)
class QualityRule:
    """A label needs review when its face is smaller, softer, worse exposed or further turned than this.

    The defaults were chosen by looking at 1,969 faces that YuNet found on photographs of crowds, on snapshots (AFW, HELEN), portraits and
    loose crops. They mark 2 % of portraits, 3 % and 15 % of two sets of crowds, and 22 % of AFW, which is full of profiles.
    """

    face_size_px: float = 18.0
    """Smallest face. `tiny` names 80.3 % of 1,000 faces as their raters do; shrunk to 28 px 79.7 %, to 20 px 74.5 %, to 18 px 73.9 %, to
    16 px 71.7 %, to 12 px 61.9 %. Its confidence falls by half of that only, so its own rule does not see them all."""
    sharpness: float = 0.30
    """Least sharpness. All faces below were smears; from 0.32 on eyes and mouth can be distinguished."""
    exposure: float = 0.60
    """Least exposure. Below, about half of the face is black or white; faces lit from one side and dark skin on a dark ground lie above."""
    yaw_deg: float = 60.0
    """Largest turn to either side. Beyond, the far eye is hidden; `head_pose` errs by 8 degrees on average."""

    def __post_init__(self) -> None:
        limits = [getattr(self, field.name) for field in fields(self)]
        if not all(np.isfinite(limit) and limit >= 0 for limit in limits):
            raise ValueError("limits of quality are finite and not negative")

    def flags(self, quality: Quality) -> NDArray[np.bool_]:
        """(N,) whether the face needs review. What is not a number is marked."""
        good = (
            (quality.face_size_px >= self.face_size_px)
            & (quality.sharpness >= self.sharpness)
            & (quality.exposure >= self.exposure)
            & (np.abs(quality.yaw_deg) <= self.yaw_deg)
        )
        return np.asarray(~good, np.bool_)
