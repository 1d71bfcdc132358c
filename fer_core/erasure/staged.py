"""Parquet files that runs left in staging, committed or not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.deny_list import DenyList
from fer_core.commit.part_reader import UNREADABLE
from fer_core.commit.publish import is_committed, remove_staging
from fer_core.run.part_name import PartName
from fer_core.storage.paths import COMPACTION, RUNS, STAGING, TABLES, coalesced_receipt_file, is_run_id, receipt_file
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


def purge_staging(store: Store, deny: DenyList, assert_lease: Callable[[], None] = lambda: None) -> None:
    """Remove staged files that name what is denied, and what nothing will read. The caller holds the root's lease.

    The receipt of a removed part goes first: its shard counts as unfinished then, and a resumed run processes it again.
    """
    for run_id in sorted({run_of(path) for path in store.list_files(STAGING)}):
        if is_run_id(run_id) and is_committed(store, run_id):
            remove_staging(store, run_id)
    store.remove_tree(COMPACTION)
    for staged in staged_tables(store):
        if staged.rows is not None and not pc.any(of_staged(deny, staged), min_count=0).as_py():
            continue
        for receipt in _receipts_of(staged.path):
            assert_lease()
            store.remove_file(receipt)
        store.remove_file(staged.path)
    for path in store.list_unfinished(STAGING):
        store.remove_file(path)


def remove_unfinished(store: Store) -> None:
    """Remove files that a killed removal was writing: they hold rows that it removes."""
    for folder in (*TABLES, RUNS):
        for path in store.list_unfinished(folder):
            store.remove_file(path)


def of_staged(deny: DenyList, staged: StagedTable) -> pa.Array:
    """For each row whether its image or its face is denied. A crop has no box: it counts where any face of its image is denied."""
    rows = staged.rows
    assert rows is not None
    if "box_x" in rows.column_names:
        return pc.or_(deny.denies(rows), deny.denied_faces(rows))
    return pc.or_(deny.denies(rows), deny.has_denied_faces(rows)) if "face_index" in rows.column_names else deny.denies(rows)


def _receipts_of(path: str) -> list[str]:
    """The receipts that may name a staged part, of its shard and of merged parts."""
    name = path.rpartition("/")[2].split(".")[0]
    try:
        part = PartName.parse(name)
    except ValueError:
        return []
    return [receipt_file(run_of(path), part), coalesced_receipt_file(run_of(path), part)]
