"""Parquet files that runs left in staging, committed or not."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from fer_core.commit.part_reader import UNREADABLE
from fer_core.storage.paths import STAGING
from fer_core.storage.store import Store

_COLUMNS = ("image_uri", "image_sha256", "face_index", "box_x", "box_y", "box_w", "box_h")


@dataclass(frozen=True, slots=True)
class StagedTable:
    """One file."""

    path: str
    rows: pa.Table | None
    """Its columns that say which image and which face; None where the file cannot be read."""


def staged_tables(store: Store) -> Iterator[StagedTable]:
    """All staged Parquet files, one in memory at a time."""
    for path in store.list_files(STAGING):
        if path.endswith(".parquet"):
            yield StagedTable(path, _rows(store, path))


def run_of(path: str) -> str:
    """The run that a staged file is of."""
    return path.split("/")[1]


def _rows(store: Store, path: str) -> pa.Table | None:
    import pyarrow.parquet as pq

    if not store.exists(path):  # a stale listing
        return None
    try:
        with pq.ParquetFile(pa.BufferReader(store.read_bytes(path))) as file:
            rows = file.read(columns=[name for name in _COLUMNS if name in file.schema_arrow.names])
        rows.validate(full=True)
    except UNREADABLE:
        return None
    return rows.replace_schema_metadata(None)
