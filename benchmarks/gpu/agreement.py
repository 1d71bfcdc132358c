"""For benchmarks/gpu/compare.py: how far two paths agree on faces and on what is said of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_core.align.face_extractor import ExtractedFaces
from fer_core.detect.base import box_iou
from fer_core.types import Predictions


def faces_agree(wanted: list[ExtractedFaces], found: list[ExtractedFaces], answers: Predictions, whole: Predictions) -> dict[str, Any]:
    """Faces of both, matched by overlap, and what is said of them."""
    theirs, ours, sides, distances = [], [], [], []
    start_theirs = start_ours = 0
    for one, other in zip(wanted, found, strict=True):
        shared = box_iou(one.faces.boxes, other.faces.boxes)
        for index in range(len(one.faces)):
            match = int(shared[index].argmax()) if shared.shape[1] else 0
            if shared.shape[1] and shared[index, match] >= 0.5:
                theirs.append(start_theirs + index)
                ours.append(start_ours + match)
                box = one.faces.boxes[index]
                sides.append(float(np.sqrt(np.prod(box[2:] - box[:2]))))
                distances.append(float(np.abs(one.faces.points[index] - other.faces.points[match]).max()))
        start_theirs, start_ours = start_theirs + len(one.faces), start_ours + len(other.faces)
    away, side = np.array(distances), np.array(sides)
    return {
        "faces_only_in_the_reference": start_theirs - len(theirs),
        "faces_only_here": start_ours - len(set(ours)),
        "points_px": _spread(away),
        "points_share_of_side": _spread(away / side),
        "whole_path": answers_agree(answers.take(np.array(theirs, np.intp)), whole.take(np.array(ours, np.intp))),
    }


def answers_agree(answers: Predictions, others: Predictions) -> dict[str, float]:
    """Of the same faces."""
    different = np.abs(answers.confidence - others.confidence)
    return {
        "confidence_largest_difference": round(float(different.max(initial=0)), 4),
        "confidence_within_0.01": round(float((different <= 0.01).mean()), 5),
        "same_expression": round(float((answers.expression == others.expression).mean()), 5),
    }


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{round(100 * share)}": round(float(np.quantile(values, share)), 5) for share in (0.5, 0.9, 0.99, 1)} if len(values) else {}
