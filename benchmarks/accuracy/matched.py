"""Faces that two ways of labelling the same pictures both found, and how far they agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_core.detect.base import box_iou


@dataclass(frozen=True, slots=True)
class LabelledFaces:
    """What one way says of one picture. N faces."""

    boxes: NDArray[np.float32]
    """(N, 4) x0, y0, x1, y1 in pixels."""
    expressions: tuple[str, ...]
    confidence: NDArray[np.float64]
    """(N,)."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One face in both, as (expression, confidence)."""

    one: tuple[str, float]
    other: tuple[str, float]


def of_labels(root: Path, pictures: Path) -> dict[str, LabelledFaces]:
    """What a labels root says, by the pictures' paths below their folder."""
    columns = ["image_uri", "box_x", "box_y", "box_w", "box_h", "expression", "confidence"]
    table = pq.read_table(root / "labels", columns=columns)
    return {uri.removeprefix(f"{pictures}/"): _said(table, rows) for uri, rows in _rows(table["image_uri"]).items()}


def _rows(uris: pa.ChunkedArray) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, uri in enumerate(uris.to_pylist()):
        found.setdefault(uri, []).append(number)
    return found


def _said(table: pa.Table, rows: list[int]) -> LabelledFaces:
    own = table.take(rows)
    x, y, width, height = (own[f"box_{name}"].to_numpy() for name in "xywh")
    boxes = np.stack([x, y, x + width, y + height], axis=1)
    return LabelledFaces(boxes, tuple(own["expression"].to_pylist()), own["confidence"].to_numpy().astype(np.float64))


def pairs(one: Mapping[str, LabelledFaces], other: Mapping[str, LabelledFaces], overlap: float = 0.5) -> list[Pair]:
    """Faces matched by intersection over union, the best first, each face once."""
    found = []
    for name in sorted(one.keys() & other.keys()):
        a, b = one[name], other[name]
        shared = box_iou(a.boxes, b.boxes)
        while shared.size and shared.max() >= overlap:
            i, j = (int(place) for place in np.unravel_index(shared.argmax(), shared.shape))
            found.append(Pair((a.expressions[i], float(a.confidence[i])), (b.expressions[j], float(b.confidence[j]))))
            shared[i, :], shared[:, j] = -1, -1
    return found


def faces(said: Mapping[str, LabelledFaces]) -> int:
    return sum(len(one.expressions) for one in said.values())


def agreement(one: Mapping[str, LabelledFaces], other: Mapping[str, LabelledFaces], overlap: float = 0.5) -> dict[str, float]:
    """Shares and differences. `found_by_both` is twice the matched faces over the faces of both."""
    both = pairs(one, other, overlap)
    apart = np.array([abs(pair.one[1] - pair.other[1]) for pair in both] or [0.0])
    return {
        "faces_one": faces(one),
        "faces_other": faces(other),
        "matched": len(both),
        "found_by_both": 2 * len(both) / max(1, faces(one) + faces(other)),
        "same_expression": sum(pair.one[0] == pair.other[0] for pair in both) / max(1, len(both)),
        "confidence_apart_largest": float(apart.max()),
        "confidence_apart_p95": float(np.percentile(apart, 95)),
        "confidence_within_0.01": float(np.mean(apart <= 0.01)),
    }
