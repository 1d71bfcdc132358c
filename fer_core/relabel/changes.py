"""Changes of expressions by a relabelling: the run's labels beside those that were current before it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_core.commit.manifest import Manifest
from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import read_manifest
from fer_core.labels import EXPRESSIONS
from fer_core.relabel.survey import parts_beside, run_id_of, survey
from fer_core.storage.store import Store
from fer_core.tables.schema import LABELS

PARTS_AT_HAND = 16
"""Earlier parts that are kept in memory: neighbouring images are in few of them."""

_READ = pa.schema([LABELS.field(name) for name in ("image_uri", "face_index", "expression", "confidence", "needs_review")])
_CODES = pa.array(EXPRESSIONS)


@dataclass(frozen=True, slots=True)
class Changes:
    """Faces before and after, counted."""

    matrix: NDArray[np.int64]
    """(8, 8) faces by expression, in the order of `labels.EXPRESSIONS`: rows are the earlier label, columns the new one."""
    confidence_before: float
    """Mean over the same faces; 0 where there are none."""
    confidence_after: float
    review_before: int
    """Faces that need review."""
    review_after: int
    without_crops: int
    """Images whose current labels stay, because the crops of their faces were not kept."""

    @property
    def faces(self) -> int:
        """Faces with a label before and after."""
        return int(self.matrix.sum())

    @property
    def changed(self) -> int:
        """Faces whose expression is another one now."""
        return self.faces - int(np.trace(self.matrix))

    @property
    def share_changed(self) -> float:
        """In [0, 1]."""
        return self.changed / self.faces if self.faces else 0.0

    def moves(self) -> list[tuple[str, str, int]]:
        """Earlier label, new label and faces of each change, the most frequent first."""
        pairs = [(old, new) for old in range(len(EXPRESSIONS)) for new in range(len(EXPRESSIONS)) if old != new and self.matrix[old, new]]
        told = [(EXPRESSIONS[old], EXPRESSIONS[new], int(self.matrix[old, new])) for old, new in pairs]
        return sorted(told, key=lambda move: -move[2])

    def to_json(self) -> dict[str, Any]:
        """For programs; rates in [0, 1]."""
        return {
            "faces": self.faces,
            "changed": self.changed,
            "share_changed": round(self.share_changed, 6),
            "confidence_before": round(self.confidence_before, 6),
            "confidence_after": round(self.confidence_after, 6),
            "confidence_change": round(self.confidence_after - self.confidence_before, 6),
            "needs_review_before": self.review_before,
            "needs_review_after": self.review_after,
            "images_without_crops": self.without_crops,
            "classes": list(EXPRESSIONS),
            "matrix": self.matrix.tolist(),
        }


def changes_of(store: Store, manifest: Manifest) -> Changes:
    """Changes by a committed relabelling, against the labels that were current when it was planned. Holds a few parts at a time.

    CommitError when a part of it or of an earlier run is missing or damaged.
    """
    before = survey(store, manifest.run_config().answering, manifest.run_config().started_us)
    answer_in = dict(zip(before.images["image_uri"].to_pylist(), before.images["answer_in"].to_pylist(), strict=True))
    earlier = lru_cache(PARTS_AT_HAND)(lambda number: _beside(store, before.parts[number]))
    labels = (read_part(store, part, _READ, manifest.run_id) for part in manifest.parts_of("labels"))
    tallies = [_tally(pair) for rows in labels for pair in _pairs(rows, answer_in, earlier)]
    matrix = sum((tally[0] for tally in tallies), np.zeros((len(EXPRESSIONS),) * 2, np.int64))
    sums = sum((tally[1] for tally in tallies), np.zeros(4))
    count = max(int(matrix.sum()), 1)
    return Changes(matrix, sums[0] / count, sums[1] / count, int(sums[2]), int(sums[3]), before.without_crops)


def _pairs(labels: pa.Table, answer_in: dict[str, int], earlier: Callable[[int], pa.Table]) -> Iterator[pa.Table]:
    """The faces of one part, each beside its earlier label, in one table a part of earlier labels."""
    numbers = pa.array([answer_in.get(uri) for uri in labels["image_uri"].to_pylist()], pa.int32())
    for number in pc.unique(numbers).to_pylist():
        if number is not None:
            ours = labels.filter(pc.equal(numbers, number))
            yield ours.join(earlier(number), ["image_uri", "face_index"], join_type="inner", left_suffix="_new", right_suffix="_old")


def _beside(store: Store, path: str) -> pa.Table:
    """The labels of the images of one part."""
    manifest = read_manifest(store, run_id_of(path))
    return pa.concat_tables([read_part(store, part, _READ, manifest.run_id) for part in parts_beside(manifest, [path], "labels")])


def _tally(pairs: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(8, 8) counts; (4,) sums: confidence before and after, review before and after."""
    old, new = (_codes(pairs[f"expression_{when}"]) for when in ("old", "new"))
    matrix = np.bincount(old * len(EXPRESSIONS) + new, minlength=len(EXPRESSIONS) ** 2).reshape((len(EXPRESSIONS),) * 2)
    names = ("confidence_old", "confidence_new", "needs_review_old", "needs_review_new")
    return matrix.astype(np.int64), np.array([pc.sum(pairs[name]).as_py() or 0 for name in names], np.float64)


def _codes(expressions: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(pc.index_in(expressions, value_set=_CODES).to_numpy(), np.int64)
