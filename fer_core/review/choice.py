"""Which faces are worth a person's minute.

    worth = answerable x (1.0 doubt + 1.0 disagreement + 0.5 rarity + 0.5 drift)

- doubt: 8/7 (1 - confidence), so that equal probabilities give 1.
- disagreement: total variation distance between the label's probabilities and those of another pipeline that names another expression.
- rarity: sum over the expressions of p_k (1 - n_k / max n), n_k being the probabilities of expression k summed over all faces: a face that
  may show a rare expression counts, whatever its label.
- drift: how far the confidence of its slice fell (`slices`), or any weight in [0, 1] that the caller gives instead.
- answerable: 1/2 where the face is small, blurred or turned too far for a person to recognise it (the limits of `QualityRule`), else 1.

Faces are sorted by falling worth, one of each image first, then a second of each image, and so on. Faces reviewed already are left out.

Faces to tune a model's head by are not the least sure ones, which would be a one-sided sample, but spread over what the model says and
how sure it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fer_core.quality_thresholds import QualityRule
from fer_core.review.candidates import Candidates

Policy = Literal["worth", "tuning", "random"]

TERMS: Final = ("doubt", "disagreement", "rarity", "drift")
HARDLY: Final = 0.5
"""What is left of the worth of a face that shows too little."""
LEVELS: Final = 5
"""Parts of equal size into which the faces of an expression fall by confidence, for tuning."""
_DECIMALS: Final = 6
"""Worth is compared to so many, so that the order of a sum decides nothing."""


@dataclass(frozen=True, slots=True)
class PriorityWeights:
    """How much each term counts."""

    doubt: float = 1.0
    disagreement: float = 1.0
    rarity: float = 0.5
    drift: float = 0.5


@dataclass(frozen=True, slots=True)
class ReviewPriority:
    """What N faces are worth."""

    terms: NDArray[np.float64]
    """(N, 4) by `TERMS`, weighted."""
    answerable: NDArray[np.float64]
    """(N,) in [0, 1]."""

    @property
    def total(self) -> NDArray[np.float64]:
        """(N,)."""
        return np.asarray(np.round(self.answerable * self.terms.sum(axis=1), _DECIMALS), np.float64)


def review_priority(
    faces: Candidates,
    disagreement: NDArray[np.float64],
    drift: NDArray[np.float64],
    weights: PriorityWeights | None = None,
    rule: QualityRule | None = None,
) -> ReviewPriority:
    """The formula. disagreement, drift: (N,) in [0, 1]."""
    by, limits = weights or PriorityWeights(), rule or QualityRule()
    terms = [by.doubt * doubt(faces), by.disagreement * disagreement, by.rarity * rarity(faces), by.drift * drift]
    clear = (faces.size_px >= limits.face_size_px) & (faces.sharpness >= limits.sharpness) & (np.abs(faces.yaw_deg) <= limits.yaw_deg)
    return ReviewPriority(np.stack(terms, axis=1), np.where(clear, 1.0, HARDLY))


def doubt(faces: Candidates) -> NDArray[np.float64]:
    """(N,) in [0, 1]."""
    count = faces.probabilities.shape[1]
    return np.asarray(np.clip((1 - faces.probabilities.max(axis=1, initial=0)) * count / (count - 1), 0, 1), np.float64)


def rarity(faces: Candidates) -> NDArray[np.float64]:
    """(N,) in [0, 1]."""
    if not len(faces):
        return np.zeros(0)
    expected = np.round(faces.probabilities.sum(axis=0), _DECIMALS)
    return np.asarray(np.clip(faces.probabilities @ (1 - expected / max(float(expected.max()), 1e-12)), 0, 1), np.float64)


def by_priority(faces: Candidates, total: NDArray[np.float64]) -> NDArray[np.intp]:
    """All faces, the first to review in front. The order in which they are given does not matter."""
    within = _sorted(faces, -total, faces.image)
    turn = np.empty(len(faces), np.int64)
    turn[within] = _place(faces.image[within])
    return _sorted(faces, faces.image, -total, turn)


def spread(faces: Candidates) -> NDArray[np.intp]:
    """All faces, one of each expression said and level of confidence first, then a second of each, and so on.

    Of the faces of an image in a level the first comes before the others. Nothing depends on the order in which they are given.
    """
    said, confidence = faces.probabilities.argmax(axis=1), faces.probabilities.max(axis=1, initial=0)
    order = _sorted(faces, faces.image, confidence, said)
    level = np.empty(len(faces), np.int64)
    level[order] = _place(said[order]) * LEVELS // np.maximum(np.bincount(said)[said[order]], 1) if len(faces) else 0
    cell = said * LEVELS + level
    within = _sorted(faces, faces.image, cell)
    again = np.empty(len(faces), np.int64)
    again[within] = _place((cell * (faces.image.max(initial=0) + 1) + faces.image)[within])
    within = _sorted(faces, faces.image, again, cell)
    turn = np.empty(len(faces), np.int64)
    turn[within] = _place(cell[within])
    return _sorted(faces, said, level, turn)


def _place(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) codes of which equal ones stand together -> the place of each among its equals."""
    if not len(codes):
        return np.zeros(0, np.int64)
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
    return np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))


def shuffled(faces: Candidates, seed: int) -> NDArray[np.intp]:
    """All faces in an order that hangs on the seed and on which faces there are, not on how they are given."""
    known = _sorted(faces, faces.image)
    return np.asarray(known[np.random.default_rng(seed).permutation(len(faces))], np.intp)


def _sorted(faces: Candidates, *keys: NDArray[np.generic]) -> NDArray[np.intp]:
    """Numbers of the faces by these keys, the least important first; where those are equal, by box."""
    columns: Sequence[NDArray[np.generic]] = [*(faces.boxes[:, axis] for axis in (3, 2, 1, 0)), *keys]
    return np.asarray(np.lexsort(columns), np.intp)
