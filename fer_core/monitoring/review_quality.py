"""What the reviews of a labels root say of reviewers and labels: agreement of reviewers, and accuracy of labels by slice."""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.commit.publish import committed_runs
from fer_core.errors import CommitError
from fer_core.evaluation.agreement import MISSING, Agreement, alpha_agreement, kappa_agreement
from fer_core.evaluation.evaluate import Evaluation, score
from fer_core.evaluation.slices import SliceFigures, quality_slicings, slice_figures
from fer_core.labels import EXPRESSIONS
from fer_core.review.attach import NOWHERE
from fer_core.review.history import history
from fer_core.review.reviewed import ReviewedFaces, faces_of, reviewed_faces
from fer_core.review.verdicts import NOT_A_FACE
from fer_core.storage.store import Store

CATEGORIES: Final = (*EXPRESSIONS, NOT_A_FACE)
"""`unsure` counts as no rating."""
MOST_REVIEWERS: Final = 20
"""With the most reviews: the others are left out of the agreement."""


@dataclass(frozen=True, slots=True)
class ReviewQuality:
    """Figures of one root."""

    reviewers: dict[str, int]
    """Faces that each reviewer gave a verdict other than `unsure`, the most first."""
    alpha: Agreement
    """Krippendorff's, over the faces that two reviewers or more rated."""
    kappas: dict[tuple[str, str], Agreement]
    """Cohen's, of each two reviewers who share a face."""
    labels: Evaluation | None
    """Current labels against the last verdicts that name an expression; None without any."""
    slices: tuple[SliceFigures, ...]
    """The same by face size, sharpness and turn."""


def review_quality(store: Store, seed: int = 0) -> ReviewQuality:
    """Read reviews and current labels. ReviewError where the history is damaged, CommitError where a part or every run is missing."""
    reviews = history(store)
    if not reviews.num_rows and not committed_runs(store):
        raise CommitError(f"no run has been committed under {store.url()} yet")
    names, ratings = ratings_of(reviews)
    kappas = {}
    for first, second in combinations(range(len(names)), 2):
        both = kappa_agreement(ratings[:, first], ratings[:, second], len(CATEGORIES), seed)
        if both.units:
            kappas[names[first], names[second]] = both
    counts = {name: int((ratings[:, number] != MISSING).sum()) for number, name in enumerate(names)}
    labels, slices = _labels(reviewed_faces(store), seed)
    return ReviewQuality(counts, alpha_agreement(ratings, len(CATEGORIES), seed), kappas, labels, slices)


def ratings_of(reviews: pa.Table) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """`record.REVIEWS`, oldest first -> names of the reviewers, and (faces, reviewers) categories or `MISSING`: each one's last verdict."""
    people = reviews["reviewer"].to_pylist()
    counts = Counter(people)
    names = tuple(sorted(counts, key=lambda name: (-counts[name], name))[:MOST_REVIEWERS])
    column, category = ({name: number for number, name in enumerate(values)} for values in (names, CATEGORIES))
    face, place = faces_of(reviews), dict[int, int]()
    ratings = np.full((reviews.num_rows, len(names)), MISSING, np.int64)
    for row, (person, verdict) in enumerate(zip(people, reviews["verdict"].to_pylist(), strict=True)):
        if face[row] != NOWHERE and person in column:
            ratings[place.setdefault(int(face[row]), len(place)), column[person]] = category.get(verdict, MISSING)
    return names, ratings[: len(place)]


def _labels(faces: ReviewedFaces, seed: int) -> tuple[Evaluation | None, tuple[SliceFigures, ...]]:
    rows = [row for row in range(len(faces)) if faces.attached[row] != NOWHERE and faces.verdicts[row] in EXPRESSIONS]
    if not rows:
        return None, ()
    truth = np.array([EXPRESSIONS.index(faces.verdicts[row]) for row in rows], np.int64)
    labels = faces.labels.take(pa.array(faces.attached[rows], pa.int64()))
    probabilities = np.stack([labels[f"p_{name}"].to_numpy().astype(np.float64) for name in EXPRESSIONS], axis=1)
    columns = (labels[name].to_numpy() for name in ("face_size_px", "sharpness", "yaw_deg"))
    slices = slice_figures(probabilities, truth, quality_slicings(*columns), seed)
    return score(probabilities, truth, EXPRESSIONS, intervals=True), slices
