"""The current labels of a root, counted by folder, expression, confidence, quality and pose in one pass of DuckDB."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.drift import EDGES, bin_names
from fer_core.query.session import QuerySession, rows

FOLDERS: Final = 12
"""Folders that are counted one by one, those with most faces."""
STEPS: Final = 20
"""Bins of confidence."""
MEASURES: Final = ("face_size_px", "sharpness", "yaw_deg", "pitch_deg", "detection_score")
"""Quality and pose."""


_COLUMNS: Final = ("folder", "expression", "confidence_bin", *MEASURES, "day")
_SETS: Final = (("folder", "expression"), *((name,) for name in _COLUMNS[1:]))
"""Columns that faces are counted by."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Faces in K bins of one measure."""

    bins: tuple[str, ...]
    faces: NDArray[np.int64]
    """(K,)"""
    review: NDArray[np.int64]
    """(K,) how many of them are marked for review."""
    confidence: NDArray[np.float64]
    """(K,) mean confidence; NaN in an empty bin."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Faces by folder, F folders by falling number of faces."""

    above: str
    """Folder that all images lie in; empty where there is none."""
    names: tuple[str, ...]
    """Below it; the empty name is that folder itself."""
    expressions: NDArray[np.int64]
    """(F, 8) faces by expression."""
    review: NDArray[np.int64]
    """(F,) faces that are marked for review."""
    others: int
    """Further folders."""
    others_expressions: NDArray[np.int64]
    """(8,) faces in them."""
    others_review: int
    """Those that are marked for review."""


@dataclass(frozen=True, slots=True)
class CurrentLabels:
    """The newest answer for each image."""

    expressions: Distribution
    confidence: Distribution
    """In `STEPS` equal bins."""
    quality: Mapping[str, Distribution]
    """By measure, `MEASURES`, in the bins of `drift.EDGES`."""
    folders: Folders
    marked_by_day: Mapping[str, int]
    """Faces that are marked for review, by the day of their run, `YYYY-MM-DD`."""

    @property
    def faces(self) -> int:
        """All."""
        return int(self.expressions.faces.sum())

    @property
    def review(self) -> int:
        """Those that are marked for review."""
        return int(self.expressions.review.sum())


def count_current(session: QuerySession) -> CurrentLabels:
    """QueryError where a part cannot be read."""
    above = common_folder(session)
    found = pa.Table.from_batches(rows(reader := session.run(_sql(above))), reader.schema).to_pylist()
    grouped = {one: [row for row in found if row["which"] == _without(one)] for one in _SETS}
    named = {name: index for index, name in enumerate(EXPRESSIONS)}
    steps = tuple(f"{100 * step // STEPS} to {100 * (step + 1) // STEPS} %" for step in range(STEPS))
    return CurrentLabels(
        expressions=_distribution(EXPRESSIONS, grouped[("expression",)], "expression", named),
        confidence=_distribution(steps, grouped[("confidence_bin",)], "confidence_bin"),
        quality={name: _distribution(bin_names(name), grouped[(name,)], name) for name in MEASURES},
        folders=_folders(above, grouped[("folder", "expression")], named),
        marked_by_day={row["day"]: row["review"] for row in sorted(grouped[("day",)], key=lambda row: str(row["day"])) if row["review"]},
    )


def common_folder(session: QuerySession) -> str:
    """The longest folder that all images with a label lie in, with a slash at its end; empty where there is none."""
    reader = session.run("SELECT min(image_uri) AS first, max(image_uri) AS last FROM labels")
    (row,) = pa.Table.from_batches(rows(reader), reader.schema).to_pylist()
    first, last = (row["first"] or "", row["last"] or "")
    same = next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), min(len(first), len(last)))
    shared = first[: first.rfind("/", 0, same) + 1]
    return "" if shared.strip("/") == "" or shared.endswith("://") else shared


def _sql(above: str) -> str:
    """One scan, counted in several ways; folders beyond `FOLDERS` become one, whose name is null."""
    columns, sets = ", ".join(_COLUMNS), ", ".join(f"({', '.join(one)})" for one in (*_SETS, ("folder",)))
    return f"""\
WITH grouped AS MATERIALIZED (
  SELECT grouping({columns}) AS which, {columns}, count(*) AS faces, count(*) FILTER (needs_review) AS review, sum(sure) AS confidence,
    count(sure) AS known
  FROM (
    SELECT expression, needs_review, strftime(run_date, '%Y-%m-%d') AS day, {_folder(above)} AS folder,
      CASE WHEN isfinite(confidence) THEN confidence::DOUBLE END AS sure,
      CASE WHEN isfinite(confidence) THEN least({STEPS - 1}, floor(confidence * {STEPS}))::INT END AS confidence_bin,
      {", ".join(f"{_bin(name)} AS {name}" for name in MEASURES)}
    FROM current)
  GROUP BY GROUPING SETS ({sets})),
largest AS (SELECT folder FROM grouped WHERE which = {_without(("folder",))} ORDER BY faces DESC, folder LIMIT {FOLDERS})
SELECT * REPLACE (CASE WHEN folder IN (FROM largest) THEN folder END AS folder, sum(faces)::BIGINT AS faces, sum(review)::BIGINT AS review,
  sum(confidence) AS confidence, sum(known)::BIGINT AS known), count(DISTINCT folder) AS folders
FROM grouped WHERE which <> {_without(("folder",))} GROUP BY ALL"""


def _folder(above: str) -> str:
    """SQL: the folder of an image below the common one."""
    rest = f"substr(image_uri, {len(above) + 1})"
    return f"regexp_extract({rest}, '^((?:[a-z0-9+]+://|/)?[^/]*)/', 1)"


def _bin(measure: str) -> str:
    """SQL: number of the bin of `drift.EDGES`, null for what is not a number."""
    above = " + ".join(f"({measure} >= {edge}::FLOAT)::INT" for edge in EDGES[measure])
    return f"CASE WHEN isfinite({measure}) THEN {above} END"


def _without(those: Sequence[str]) -> int:
    """What SQL's `grouping` gives for a set: a bit for each column that is not in it, the first column's the highest."""
    return sum(1 << (len(_COLUMNS) - 1 - at) for at, name in enumerate(_COLUMNS) if name not in those)


def _distribution(
    bins: tuple[str, ...], found: Sequence[Mapping[str, Any]], column: str, numbers: Mapping[str, int] | None = None
) -> Distribution:
    faces, review = np.zeros(len(bins), np.int64), np.zeros(len(bins), np.int64)
    confidence = np.full(len(bins), np.nan)
    for row in found:
        at = row[column] if numbers is None else numbers.get(row[column])
        if at is not None:
            faces[at], review[at] = row["faces"], row["review"]
            confidence[at] = row["confidence"] / row["known"] if row["known"] else np.nan
    return Distribution(bins, faces, review, confidence)


def _folders(above: str, found: Sequence[Mapping[str, Any]], numbers: Mapping[str, int]) -> Folders:
    names = sorted({row["folder"] for row in found if row["folder"] is not None})
    at = {name: number for number, name in enumerate(names)}
    expressions, review = np.zeros((len(names) + 1, len(EXPRESSIONS)), np.int64), np.zeros(len(names) + 1, np.int64)
    for row in found:
        number = at.get(row["folder"], len(names))
        review[number] += row["review"]
        if row["expression"] in numbers:
            expressions[number, numbers[row["expression"]]] += row["faces"]
    order = np.argsort(-expressions[:-1].sum(axis=1), kind="stable")
    others = max((row["folders"] for row in found if row["folder"] is None), default=0)
    return Folders(above, tuple(names[one] for one in order), expressions[order], review[order], others, expressions[-1], int(review[-1]))
