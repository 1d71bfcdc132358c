"""The figures of all detectors as text, beside what the built-in one is to reach."""

import math
from collections.abc import Sequence
from typing import Final

from benchmarks.detector.figures import GOALS, Row, reached

LINES: Final = (
    ("AFW, longest side 640 px", ""),
    ("  recall at IoU 0.5", "afw_recall_iou50"),
    ("  recall at IoU 0.4", "afw_recall_iou40"),
    ("  unmatched boxes an image", "afw_unmatched_per_image"),
    ("  false boxes an image", "afw_false_per_image"),
    ("  eye error, yaw below 45", "eye_error"),
    ("  yaw error, degrees", "yaw_error_deg"),
    ("photographs, native size", ""),
    ("  recall >= 20 px at IoU 0.4", "photos_recall_20px_iou40"),
    ("  recall >= 20 px at IoU 0.5", "photos_recall_20px_iou50"),
    ("  recall >= 40 px at IoU 0.4", "photos_recall_40px_iou40"),
    ("  recall >= 40 px at IoU 0.5", "photos_recall_40px_iou50"),
    ("  unmatched boxes an image", "photos_unmatched_per_image"),
    ("  false boxes an image", "photos_false_per_image"),
    ("helen5", ""),
    ("  five points' error", "helen_point_error"),
    ("  faces missed", "helen_missed"),
    ("one thread, AFW's pictures", ""),
    ("  images a second", "images_per_second"),
    ("  images a second of CPU time", "images_per_cpu_second"),
)
"""What a line is called and the field of `Row` that it shows; headings have none."""
LABEL, NUMBER, NAME = 32, 8, 13
"""Widths of the columns."""


def table(rows: Sequence[Row], witnesses: Sequence[str]) -> str:
    """One line a figure, one column a detector; for the built-in detector whether it reached the goal, the floor or neither."""
    lines = [f"{'':<{LABEL}}{'floor':>{NUMBER}}{'goal':>{NUMBER}}" + "".join(f"{row.detector:>{NAME}}" for row in rows)]
    for label, field in LINES:
        if not field:
            lines.append(label)
            continue
        bounds = "".join(f"{number(bound):>{NUMBER}}" for bound in GOALS.get(field, ("", "")))
        cells = "".join(f"{number(getattr(row, field)):>{NAME}}" for row in rows)
        said = "".join(reached(field, getattr(row, field)) for row in rows if row.detector == "builtin")
        lines.append(f"{label:<{LABEL}}{bounds}{cells}  {said}".rstrip())
    thresholds = ", ".join(f"{row.detector} {row.score_threshold:g}" for row in rows if row.score_threshold is not None)
    lines.append(
        f"score thresholds: {thresholds or 'none'}; false is what no witness finds: {' and '.join(witnesses) or 'there is none here'}"
    )
    return "\n".join(lines)


def number(value: float | str) -> str:
    """Three decimals below ten, one above; counts as they are; a dash where nothing was measured."""
    if isinstance(value, (str, int)):
        return str(value)
    if math.isnan(value):
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
