"""A labels root that names the same photograph in many places: three runs with crops, a copy, reviews, and what a killed run staged."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.review.history import record
from fer_core.review.record import Correction
from fer_core.storage.store import Store, open_store
from tests.support import fakes

CROWD, PLAIN = "image-001.png", "image-003.png"
"""The picture that is asked for, with two faces; another one."""


@dataclass(frozen=True)
class Remembered:
    """The root, and the photograph that is asked for."""

    store: Store
    photos: Path

    @property
    def uri(self) -> str:
        return str(self.photos / CROWD)

    @property
    def copy(self) -> str:
        return str(self.photos / "same-as-before.png")

    @property
    def sha256(self) -> str:
        return hashlib.sha256((self.photos / CROWD).read_bytes()).hexdigest()

    def rows(self, table: str) -> list[dict[str, object]]:
        """All published rows of a table, whatever the manifests say."""
        parts = [pq.read_table(pa.BufferReader(self.store.read_bytes(path))) for path in self.store.list_files(table)]
        return [row for part in parts for row in part.to_pylist()]

    def traces(self, *texts: str) -> list[str]:
        """Files of the root that hold one of these texts: in their bytes, or in a column."""
        files = ((path, self.store.read_bytes(path)) for path in self.store.list_files())
        return [path for path, data in files if any(_holds(data, text) for text in texts)]


def _holds(data: bytes, text: str) -> bool:
    if text.encode() in data:
        return True
    if not data.startswith(b"PAR1"):
        return False
    return any(text == value for column in pq.read_table(pa.BufferReader(data)).to_pydict().values() for value in column)


def remember(root: str, photos: Path, purpose: str = "tests") -> Remembered:
    """Two whole runs, the second of which finds a copy; a third that relabels all; a fourth that was killed before its commit."""
    fakes.write_pictures(photos, [1, 2, 0, 1])
    first = replace(fakes.keeping_crops(fakes.config(root, "first")), shard_size=2, purpose=purpose)
    fakes.label(first, fakes.refs(photos), shard_size=2)
    shutil.copy(photos / CROWD, photos / "same-as-before.png")
    second = replace(first, run_id="second", started_us=first.started_us + 1)
    fakes.label(second, fakes.refs(photos)[-1:])
    third = replace(second, run_id="third", started_us=first.started_us + 2, keep_crops=False)
    fakes.label(third, fakes.refs(photos), shard_size=2)
    fakes.stage_run(replace(first, run_id="killed", started_us=first.started_us + 3), fakes.refs(photos), shard_size=2)
    found = Remembered(open_store(root), photos)
    corrections = [_correction(row) for row in found.rows("labels") if row["run_id"] == "first"]
    record(found.store, corrections, b"corrections", fakes.STARTED_US)
    return found


def _correction(row: dict[str, object]) -> Correction:
    return Correction(
        image_sha256=row["image_sha256"],
        image_uri=row["image_uri"],
        box=tuple(row[f"box_{name}"] for name in "xywh"),
        verdict="happiness",
        previous_expression=row["expression"],
        previous_model=row["model_digest"],
        reviewer="Rita",
        reviewed_at_us=fakes.STARTED_US,
        export_id="export-1",
    )
