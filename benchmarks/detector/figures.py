"""From faces that were annotated and faces that were found to the figures of one detector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.truth import HALF_PROFILE, Floats, Portrait, Scene, shorter_sides
from fer_core.align.quality import head_pose
from fer_core.detect.base import box_iou
from fer_core.types import Faces

LOOSE: Final = 0.4
"""IoU from which a box is about an annotated face, or about another detector's box."""
STRICT: Final = 0.5

GOALS: Final[dict[str, tuple[float, float]]] = {
    "afw_recall_iou50": (0.93, 0.99),
    "afw_false_per_image": (0.05, 0.02),
    "photos_recall_20px_iou40": (0.60, 0.85),
    "photos_recall_20px_iou50": (0.60, 0.85),
    "eye_error": (0.13, 0.09),
    "helen_point_error": (0.095, 0.06),
    "helen_missed": (2, 0),
    "yaw_error_deg": (15, 9),
    "images_per_second": (20, 60),
}
"""Field of `Row` -> floor and goal of the built-in detector."""


@dataclass(frozen=True, slots=True)
class Row:
    """One detector's figures. NaN where there is nothing to measure. Images are those of the set that the name begins with."""

    detector: str
    identity: str
    score_threshold: float | None
    """What labelling ships, unless another was asked for; None for the cascade, which has none."""
    afw_recall_iou50: float
    afw_recall_iou40: float
    afw_unmatched_per_image: float
    """Boxes that match no annotated face; many of them are faces without annotation."""
    afw_false_per_image: float
    """Those of them that no witness finds either."""
    photos_recall_20px_iou40: float
    """Faces whose shorter side is at least 20 px."""
    photos_recall_20px_iou50: float
    photos_recall_40px_iou40: float
    photos_recall_40px_iou50: float
    photos_unmatched_per_image: float
    photos_false_per_image: float
    eye_error: float
    """Mean distance of both eye centres over the distance between them; AFW's faces found (IoU 0.4) that turn less than 45 degrees."""
    yaw_error_deg: float
    """Mean absolute error of `quality.head_pose` over AFW's faces found (IoU 0.4)."""
    helen_point_error: float
    """Mean distance of the five points over that of the eyes, over the faces found."""
    helen_missed: int
    images_per_second: float
    """Median over AFW's pictures, one thread, warm, without decoding."""
    images_per_cpu_second: float
    """The same by the processor's time: what a busy machine does not change much."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one detector found in one scene. M boxes, N annotated faces."""

    faces: Faces
    loose: NDArray[np.intp]
    """(N,) the box that found each annotated face at `LOOSE`, or -1."""
    strict: NDArray[np.intp]
    """(N,) the same at `STRICT`."""
    unmatched: NDArray[np.bool_]
    """(M,) boxes that found no annotated face at `LOOSE`."""
    false: NDArray[np.bool_]
    """(M,) those of them that no witness finds."""


def matches(truth: Floats, boxes: Floats, limit: float) -> NDArray[np.intp]:
    """(N, 4) annotated and (M, 4) found, by falling score -> (N,) the box that found each face, or -1. One for one.

    Each box in turn takes the free face that it overlaps best, by at least `limit`; so leaving out low scores changes no earlier match.
    """
    overlap = box_iou(boxes, truth)
    found = np.full(len(truth), -1, np.intp)
    for box, row in enumerate(overlap):
        free = np.where(found < 0, row, 0)
        if free.max(initial=0) >= limit:
            found[free.argmax()] = box
    return found


def judge(scene: Scene, faces: Faces, witnesses: Floats) -> Judged:
    """Match detections with annotations. witnesses: (K, 4) boxes that confirm faces without annotation."""
    loose = matches(scene.boxes, faces.boxes, LOOSE)
    unmatched = np.ones(len(faces), bool)
    unmatched[loose[loose >= 0]] = False
    vouched = box_iou(faces.boxes, witnesses).max(axis=1, initial=0) >= LOOSE
    return Judged(faces, loose, matches(scene.boxes, faces.boxes, STRICT), unmatched, unmatched & ~vouched)


def recall(scenes: Sequence[Scene], judged: Sequence[Judged], limit: float, least: float = 0) -> float:
    """Share found at `LOOSE` or `STRICT` of the annotated faces whose shorter side is at least `least`."""
    hits = [
        (seen.strict if limit == STRICT else seen.loose)[shorter_sides(scene.boxes) >= least] >= 0
        for scene, seen in zip(scenes, judged, strict=True)
    ]
    return mean(np.concatenate(hits))


def eye_errors(scenes: Sequence[Scene], judged: Sequence[Judged]) -> NDArray[np.float64]:
    """(F,) of the faces found whose eyes are both annotated and whose yaw is below `HALF_PROFILE`."""
    errors: list[float] = []
    for scene, seen in zip(scenes, judged, strict=True):
        apart = np.hypot(*(scene.eyes[:, 1] - scene.eyes[:, 0]).T)
        for face in np.flatnonzero((seen.loose >= 0) & np.isfinite(apart) & (np.abs(scene.yaw) < HALF_PROFILE)):
            away = np.hypot(*(seen.faces.points[seen.loose[face], :2] - scene.eyes[face]).T)
            errors.append(float(away.mean() / apart[face]))
    return np.array(errors)


def yaw_errors(scenes: Sequence[Scene], judged: Sequence[Judged]) -> NDArray[np.float64]:
    """(F,) degrees, of the faces found whose yaw is annotated."""
    errors = []
    for scene, seen in zip(scenes, judged, strict=True):
        known = np.flatnonzero((seen.loose >= 0) & np.isfinite(scene.yaw))
        pose = head_pose(seen.faces.points[seen.loose[known]])
        errors.append(np.abs(pose[:, 0] - scene.yaw[known]))
    return np.concatenate(errors)


def point_errors(portraits: Sequence[Portrait], found: Sequence[Faces]) -> tuple[list[int], NDArray[np.float64]]:
    """Which portraits were missed, and (F, 5) distances over that of the eyes for the others.

    The face is the best one whose box holds the middle of the five annotated points.
    """
    missed, errors = [], []
    for number, (portrait, faces) in enumerate(zip(portraits, found, strict=True)):
        middle = portrait.points.mean(axis=0)
        around = np.flatnonzero(((faces.boxes[:, :2] < middle) & (middle < faces.boxes[:, 2:])).all(axis=1))
        if len(around) == 0:
            missed.append(number)
            continue
        away = np.hypot(*(faces.points[around[0]] - portrait.points).T)
        errors.append(away / np.hypot(*(portrait.points[1] - portrait.points[0])))
    return missed, np.array(errors).reshape(-1, 5)


def reached(field: str, value: float) -> str:
    """What is to be said about a figure of the built-in detector: "goal", "floor", "below", or nothing where none is set."""
    if field not in GOALS:
        return ""
    floor, goal = GOALS[field]
    sign = 1 if goal > floor else -1
    if sign * value >= sign * goal:
        return "goal"
    return "floor" if sign * value >= sign * floor else "below"


def mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    """NaN where there are none."""
    return float(values.mean()) if values.size else float("nan")
