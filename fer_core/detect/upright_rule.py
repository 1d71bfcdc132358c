"""When a detected face is trusted to be upright, from its score and its five points."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.types import Faces


@dataclass(frozen=True, slots=True)
class UprightRule:
    """The rule of one detector. Detectors also find faces that lie on their side or head, with wrong points.

    Such faces score lower, and some networks draw points that they cannot tell apart together. So what counts for a face, its strength, is
    its score plus `spread` times the distance of its points from their middle (root mean square, in sides of its box).
    """

    trusted: float
    """Strength from which a face is upright."""
    spread: float = 0.0
    turned_score: float = 0.0
    """Least score of the best face in a picture that was turned. Three further turns are three further chances for false positives."""

    def trusts(self, faces: Faces) -> bool:
        """Whether one of them is upright for certain."""
        return len(faces) > 0 and self.strongest(faces) >= self.trusted

    def strongest(self, faces: Faces) -> float:
        """Strength of the strongest face; 0 without one."""
        return float(self.strengths(faces).max(initial=0.0))

    def strengths(self, faces: Faces) -> NDArray[np.float64]:
        """(N,)."""
        sides = faces.boxes[:, 2:].astype(np.float64) - faces.boxes[:, :2]
        off = faces.points.astype(np.float64) - faces.points.mean(axis=1, keepdims=True)
        distances: NDArray[np.float64] = np.sqrt((off**2).sum(axis=2).mean(axis=1) / np.maximum(sides[:, 0] * sides[:, 1], 1.0))
        return faces.scores + self.spread * distances


ANY_FACE: Final = UprightRule(0.0)
"""Of detectors without a rule of their own: only pictures in which they find no face are turned."""
