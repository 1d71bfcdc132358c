"""Which face of today a box of yesterday means: one-to-one by overlap within an image."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.tables.box_overlap import SAME_FACE, iou

NOWHERE: Final = -1
MOST_FACES: Final = 2000
"""Different faces of one image that reviews are kept of: as many as the built-in detector finds at most."""
PAIRS_AT_ONCE: Final = 500_000
"""Of boxes that are laid over one another, 100 bytes each meanwhile."""


def attach(images: Sequence[str], boxes: NDArray[np.float32], there: Sequence[str], there_boxes: NDArray[np.float32]) -> NDArray[np.intp]:
    """For each of M boxes which of N faces it means, or `NOWHERE`.

    images, there: (M,) and (N,) digests; boxes: (M, 4) and (N, 4) x, y, width, height. Only faces of the same digest count. Of all pairs
    that overlap by `SAME_FACE` the best is taken first, then the best of those that are left, so no face is meant twice. Equal overlaps
    go by the order in which they stand.
    """
    found = np.full(len(images), NOWHERE, np.intp)
    rows_there = _rows_by_image(there)
    for image, asked in _rows_by_image(images).items():
        faces = rows_there.get(image, [])
        if not faces:
            continue
        pairs, shares = _near(boxes[asked], there_boxes[faces])
        taken_asked, taken_faces = set[int](), set[int]()
        for row, column in pairs[np.argsort(-shares, kind="stable")].tolist():
            if row not in taken_asked and column not in taken_faces:
                taken_asked.add(row)
                taken_faces.add(column)
                found[asked[row]] = faces[column]
    return found


def _near(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(P, 2) pairs of boxes (M, 4) and (N, 4) that overlap by `SAME_FACE`, row by row, and by how much (P,). Some rows at a time."""
    pairs, shares = [np.zeros((0, 2), np.intp)], [np.zeros(0)]
    step = max(1, PAIRS_AT_ONCE // len(other))
    for start in range(0, len(one), step):
        found = iou(one[start : start + step], other)
        near = np.argwhere(found >= SAME_FACE)
        pairs.append(near + np.array([start, 0]))
        shares.append(found[near[:, 0], near[:, 1]])
    return np.concatenate(pairs), np.concatenate(shares)


def _rows_by_image(images: Sequence[str]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = {}
    for row, image in enumerate(images):
        rows.setdefault(image, []).append(row)
    return rows
