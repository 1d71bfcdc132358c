"""Labels of a teacher detector, averaged over sizes and mirror images, so that a student can do better than any one of its looks.

First the whole picture is looked at, at several sizes and mirrored: a face's score is the mean of the better third of those looks. Then
each face is cut out and looked at again with sides of 240 to 340 px, where YuNet's points are best (on HELEN's 120 faces the mean error
over the distance of the eyes falls from 0.117 for one look at half that size to 0.072).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.base import box_iou
from fer_core.detect.yunet import YuNet
from fer_core.types import Faces

SAME_FACE: Final = 0.4
"""Overlap from which two looks see the same face."""
FACE_SIDES: Final = (240, 340)
"""Sides, in pixels, that a face is brought to for its second looks."""
REACH: Final = 1.0
"""What is cut out around a face's centre, in its longer sides to each direction."""
WORTH: Final = 0.25
"""Score below which a face is not looked at again: crowds give hundreds of such findings."""
SWAPPED: Final = np.array([1, 0, 2, 4, 3])
"""Order of the five points in a mirrored face."""

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Teacher:
    """One or more YuNet networks that label pictures together."""

    networks: Sequence[YuNet]
    sides: Sequence[int]
    """Longest sides at which whole pictures are looked at."""

    def faces(self, pixels: NDArray[np.uint8]) -> Faces:
        """(H, W, 3) RGB -> faces by falling score. Boxes and points are not clipped to the picture."""
        looks = [self._look(network, pixels, side, flip) for network in self.networks for side in self.sides for flip in (False, True)]
        rough = grouped(np.concatenate(looks), np.repeat(np.arange(len(looks)), [len(look) for look in looks]), max(1, len(looks) // 3))
        rows = np.array([self._refined(pixels, row) if row[14] >= WORTH else row for row in rough], np.float32).reshape(-1, 15)
        return Faces(rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14])

    def _refined(self, pixels: NDArray[np.uint8], rough: Floats) -> Floats:
        """(15,) box, points, score of one face -> the same from its second looks; as it was where they do not see it."""
        centre, longest = (rough[:2] + rough[2:4]) / 2, float((rough[2:4] - rough[:2]).max())
        low = np.maximum(np.floor(centre - REACH * longest), 0).astype(int)
        high = np.minimum(np.ceil(centre + REACH * longest), pixels.shape[1::-1]).astype(int)
        cut = np.ascontiguousarray(pixels[low[1] : high[1], low[0] : high[0]])
        seen = []
        for network in self.networks:
            for side in FACE_SIDES:
                for flip in (False, True):
                    rows = self._look(network, cut, max(1, round(side / longest * max(cut.shape[:2]))), flip)
                    rows[:, :14] += np.tile(low, 7)
                    overlap = box_iou(rough[None, :4], rows[:, :4])[0]
                    if overlap.size and overlap.max() >= SAME_FACE:
                        seen.append(rows[overlap.argmax()])
        if not seen:
            return rough
        together = np.array(seen)
        mean = np.average(together, axis=0, weights=together[:, 14])
        mean[14] = rough[14]
        return np.asarray(mean)

    @staticmethod
    def _look(network: YuNet, pixels: NDArray[np.uint8], side: int, flip: bool) -> Floats:
        """(N, 15) x0, y0, x1, y1, five points, score in the pixels of the picture, seen at one longest side, mirrored or not."""
        height, width = pixels.shape[:2]
        scale = side / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        shrunk = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        seen = network.rows(np.ascontiguousarray(shrunk[:, ::-1] if flip else shrunk, np.uint8), 0)
        rows: Floats = mirrored(seen, size[0]) if flip else seen
        rows[:, :14] *= np.tile([width / size[0], height / size[1]], 7)
        return rows


def mirrored(rows: Floats, width: float) -> Floats:
    """(N, 15) rows of box, points and score in a picture of `width` as they are in its mirror image."""
    box = np.stack([width - rows[:, 2], rows[:, 1], width - rows[:, 0], rows[:, 3]], axis=1)
    points = rows[:, 4:14].reshape(-1, 5, 2)[:, SWAPPED] * [-1, 1] + [width, 0]
    return np.concatenate([box, points.reshape(-1, 10), rows[:, 14:]], axis=1)


def grouped(rows: Floats, looks: NDArray[np.intp], best: int) -> Floats:
    """Findings of several looks -> one row a face, by falling score.

    rows: (N, 15) box, points, score; looks: (N,) which look each comes from. Box and points are means weighted by score; the score is the
    mean of the `best` best looks, those that see nothing counting as 0.
    """
    order = np.argsort(-rows[:, 14], kind="stable")
    rows, looks, faces = rows[order], looks[order], []
    while len(rows):
        same = box_iou(rows[:1, :4], rows[:, :4])[0] >= SAME_FACE
        same[0] = True
        first = np.unique(looks[same], return_index=True)[1]  # of several rows of one look the best one counts
        together = rows[same][np.sort(first)]
        mean = np.average(together, axis=0, weights=together[:, 14])
        mean[14] = together[:best, 14].sum() / best
        faces.append(mean)
        rows, looks = rows[~same], looks[~same]
    found = np.array(faces).reshape(-1, 15)
    return np.asarray(found[np.argsort(-found[:, 14], kind="stable")])
