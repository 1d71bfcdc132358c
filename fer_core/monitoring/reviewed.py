"""Current labels against the newest verdicts of people: agreement, calibration, and what is still to be reviewed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.current_labels import CurrentLabels
from fer_core.query.session import QuerySession, rows
from fer_core.review.attach import NOWHERE, attach
from fer_core.review.history import history
from fer_core.review.present import boxes_of, deduplicate
from fer_core.review.reviewed import latest_reviews
from fer_core.review.verdicts import VERDICTS
from fer_core.storage.store import Store

STEPS: Final = 10
"""Bins of confidence."""
RECENT: Final = timedelta(days=28)
"""Before the newest review: the pace of reviewing."""
CONFUSED: Final = 6
"""Pairs of label and verdict that are listed."""
_SQL: Final = """\
SELECT face_id, image_uri, image_sha256, box_x, box_y, box_w, box_h, expression, confidence, needs_review, labeled_at
FROM current WHERE image_sha256 IN (SELECT image_sha256 FROM reviews) ORDER BY image_uri, face_index"""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Faces with a verdict, and the label that each has now."""

    reviews: int
    """All that ever came in, superseded ones included."""
    reviewers: int
    verdicts: Mapping[str, int]
    """Faces by their newest verdict, all of `verdicts.VERDICTS`."""
    orphans: int
    """Faces with a verdict that no current label is about."""
    confusion: NDArray[np.int64]
    """(8, 8) faces by current label (rows) and verdict (columns), in the order of `labels.EXPRESSIONS`."""
    judged: NDArray[np.int64]
    """(STEPS,) of these, those in each bin of the label's confidence."""
    right: NDArray[np.int64]
    """(STEPS,) how many of them have the verdict's expression."""
    confidence: NDArray[np.float64]
    """(STEPS,) their mean confidence; NaN in an empty bin."""
    backlog: int
    """Current labels that are marked for review and have no verdict."""
    pace: float
    """Faces reviewed per week in the four weeks before the newest review."""

    @property
    def compared(self) -> int:
        """Faces whose label can be compared with an expression."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float | None:
        """Share of them where label and verdict agree; None without any."""
        return float(np.trace(self.confusion)) / self.compared if self.compared else None

    @property
    def ece(self) -> float | None:
        """Expected calibration error in these bins; None without any face."""
        some = self.judged > 0
        gaps = np.abs(self.right[some] - self.judged[some] * self.confidence[some])
        return float(gaps.sum() / self.compared) if self.compared else None

    @property
    def confused(self) -> list[tuple[str, str, int]]:
        """The commonest pairs of label and other verdict."""
        pairs = [(int(count), row, column) for (row, column), count in np.ndenumerate(self.confusion) if row != column and count]
        ordered = sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2]))[:CONFUSED]
        return [(EXPRESSIONS[row], EXPRESSIONS[column], count) for count, row, column in ordered]

    @property
    def weeks(self) -> float | None:
        """Until nothing is left to be reviewed, at this pace; None without one."""
        return self.backlog / self.pace if self.pace else None


def compare_reviews(store: Store, session: QuerySession, labels: CurrentLabels) -> Reviewed:
    """labels: counts of the same session. QueryError: a part cannot be read; ReviewError: reviews are damaged."""
    every = history(store)
    newest = latest_reviews(every)
    copies = pa.Table.from_batches(rows(reader := session.run(_SQL)), reader.schema)
    faces = copies.take(pa.array(deduplicate(copies), pa.int64()))
    at = attach(newest["image_sha256"].to_pylist(), boxes_of(newest), faces["image_sha256"].to_pylist(), boxes_of(faces))
    found = np.flatnonzero(at != NOWHERE)
    seen = faces.take(pa.array(at[found], pa.int64()))
    done = pc.and_(copies["needs_review"], pc.is_in(copies["face_id"], value_set=seen["face_id"].combine_chunks()))
    label, verdict = (_codes(column) for column in (seen["expression"], newest["verdict"].take(pa.array(found, pa.int64()))))
    some = (label >= 0) & (verdict >= 0)
    confusion = np.zeros((len(EXPRESSIONS), len(EXPRESSIONS)), np.int64)
    np.add.at(confusion, (label[some], verdict[some]), 1)
    sure = seen["confidence"].to_numpy().astype(np.float64)[some]
    at_bin = np.clip(np.floor(np.nan_to_num(sure) * STEPS), 0, STEPS - 1).astype(np.int64)
    judged, summed = np.bincount(at_bin, minlength=STEPS), np.bincount(at_bin, np.nan_to_num(sure), STEPS)
    counted = {entry["values"]: entry["counts"] for entry in pc.value_counts(newest["verdict"]).to_pylist()}
    return Reviewed(
        reviews=every.num_rows,
        reviewers=pc.count_distinct(every["reviewer"]).as_py(),
        verdicts={name: counted.get(name, 0) for name in VERDICTS},
        orphans=len(at) - len(found),
        confusion=confusion,
        judged=judged,
        right=np.bincount(at_bin[(label == verdict)[some]], minlength=STEPS),
        confidence=np.where(judged > 0, summed / np.maximum(judged, 1), np.nan),
        backlog=labels.review - int(pc.sum(done).as_py() or 0),
        pace=_pace(newest),
    )


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Numbers of expressions; -1 for anything else."""
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=pa.array(EXPRESSIONS)), -1).to_numpy(), np.int64)


def _pace(newest: pa.Table) -> float:
    last = pc.max(newest["reviewed_at"]).as_py()
    if last is None:
        return 0.0
    since = pa.scalar(datetime.fromtimestamp(last.timestamp(), UTC) - RECENT, newest.schema.field("reviewed_at").type)
    return int(pc.sum(pc.greater(newest["reviewed_at"], since)).as_py()) / (RECENT / timedelta(weeks=1))
