"""The view `current` written down: one file of each face's newest label, as Parquet, CSV or Arrow, sorted, whole or not at all."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import UNREADABLE, checked_rows, part_bytes
from fer_core.commit.reader import committed_manifests
from fer_core.errors import CommitError, StoreError
from fer_core.export.current_view import CURRENT
from fer_core.isolation import OFFLINE
from fer_core.outputs.registry import register_output
from fer_core.storage.output_place import file_place, refuse_inside
from fer_core.storage.spill import ROW_LIMITS, RowLimits, merge_by_key, sorted_runs
from fer_core.storage.store import REQUESTS_AT_ONCE, Store, open_store
from fer_core.storage.uri import as_store_error, split
from fer_core.tables.schema import IMAGES, LABELS, SCHEMA_VERSION
from fer_core.tables.unpacked_size import check_unpacked

if TYPE_CHECKING:
    from pyarrow.csv import CSVWriter
    from pyarrow.ipc import RecordBatchFileWriter
    from pyarrow.parquet import ParquetWriter

FILE: Final = "current.parquet"
"""Under a target that is a folder, which holds nothing else."""

FORMATS: Final = (".parquet", ".csv", ".arrow")
"""Endings of files; the last is Arrow's IPC format for files."""

_READ: Final = {
    "images": pa.schema([IMAGES.field(name) for name in ("image_uri", "image_sha256", "status", "run_id", "seen_at")]).remove_metadata(),
    "labels": LABELS.remove_metadata(),
}
_MARK: Final = {"fer.schema_version": str(SCHEMA_VERSION), "fer.export": "current"}


_MERGED: Final = RowLimits(200_000, 1)


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """What is in memory at a time."""

    merged: RowLimits = _MERGED
    """Of both tables, of all runs, that DuckDB gets."""
    sorting: RowLimits = ROW_LIMITS
    """Of one table while it is sorted."""
    bytes_ahead: int = 64 * 2**20
    """Parts that are read before their turn, together; a larger one is read alone."""


LIMITS: Final = ExportLimits()


@dataclass(frozen=True, slots=True)
class CurrentExport:
    """What was written."""

    file: str
    """Where it lies."""
    faces: int
    """Rows."""
    images: int
    """Different images among them."""
    runs: int
    """Committed runs they were chosen from."""
    deleted: int
    """Images that earlier runs processed and that the newest listing of their source does not hold. Which ones no run has written down,
    so their last labels are among the rows."""
    bytes: int
    """Size of the file."""


Progress = Callable[[str, int, int], None]
"""Called with what is finished, how much of it, and how much there is."""


def export_target(to: str) -> tuple[Store, str | None]:
    """Folder and name of a file where the name has one of the endings of `FORMATS`; else a folder of its own, and None.

    A folder with such a name, as earlier releases made them, stays one. UsageError where an ending has no name.
    """
    target = open_store(to)
    if os.path.splitext(target.root)[1].lower() not in FORMATS or target.list_files() not in ([], [""]):
        return target, None
    return file_place(to)


def export_current(
    store: Store,
    target: Store,
    on_progress: Progress = lambda stage, done, total: None,
    limits: ExportLimits = LIMITS,
    name: str | None = None,
    *,
    register: bool = True,
) -> CurrentExport:
    """Write the current rows of the committed runs, replacing an earlier export in one step. The same root gives the same bytes.

    target, name: as `export_target` gives them. register: whether the root is to know of the file, see `outputs.registry`; not for a
    temporary one. Takes less than 1 GB of memory and the size of the largest part, however many rows there are, and a few times the
    tables' size of temporary disk. UsageError when the target lies inside the root; StoreError when it holds anything but an earlier
    export, or cannot be written; CommitError when there is no committed run, or a part is missing or not what was promised.
    """
    manifests = committed_manifests(store)
    refuse_inside(target, store, f"the target {target.url()} lies")
    if name is None:
        _check_folder(target)
    else:
        _check_file(target, name)
    target.check_writable()
    file_name = name or FILE
    if register:
        register_output(store, target.url(file_name), "current", (manifest.run_id for manifest in manifests))
    tables = _sorted_tables(store, manifests, on_progress, limits)
    purposes = sorted({manifest.purpose for manifest in manifests} - {""})
    metadata = {**_MARK, "fer.purposes": json.dumps(purposes, ensure_ascii=False)}
    with target.replacing(file_name) as file:
        faces, images, size = _write(tables, file, _ending(file_name), on_progress, limits.merged, metadata)
    return CurrentExport(target.url(file_name), faces, images, len(manifests), _deleted(manifests), size)


def _sorted_tables(
    store: Store, manifests: Sequence[Manifest], on_progress: Progress, limits: ExportLimits
) -> Mapping[str, Sequence[pa.Table]]:
    """Pieces of each table, every one sorted by URI."""
    parts = {table: [part for manifest in manifests for part in manifest.parts_of(table)] for table in _READ}
    files = sum(len(of_table) for of_table in parts.values())
    read = count(1)

    def rows_of(table: str) -> Iterator[pa.Table]:
        for content in _contents(store, parts[table], limits.bytes_ahead):
            yield from _batches(*content, _READ[table])
            on_progress("sorted files", next(read), files)

    return {table: sorted_runs(rows_of(table), schema, limits.sorting) for table, schema in _READ.items()}


def _deleted(manifests: Sequence[Manifest]) -> int:
    newest = {manifest.source: manifest for manifest in sorted(manifests, key=lambda manifest: (manifest.started_at, manifest.run_id))}
    return sum(manifest.deleted for manifest in newest.values())


def _check_folder(target: Store) -> None:
    found = target.list_files()
    if found == [""]:
        raise StoreError(f"{target.url()} is a file, not a folder")
    if found and (found != [FILE] or not _is_export(target, FILE)):
        raise StoreError(f"{target.url()} is neither empty nor an earlier export: choose another place")


def _check_file(target: Store, name: str) -> None:
    if target.local and os.path.isdir(f"{target.root}/{name}"):
        raise StoreError(f"{target.url(name)} is a folder, not a file")
    if target.exists(name) and not _is_export(target, name):
        raise StoreError(f"{target.url(name)} is no earlier export: choose another place")


def _is_export(target: Store, name: str) -> bool:
    """By the mark in the file; CSV has no place for one, but its first line names the columns."""
    import pyarrow.parquet as pq

    fs, full = split(target.url(name))
    with as_store_error("read", target.url(name)), fs.open(full, "rb") as stream:
        try:
            if _ending(name) == ".csv":
                header = (",".join(f'"{name}"' for name in LABELS.names) + "\n").encode()  # a table with further columns is the user's
                return bool(stream.read(len(header)) == header)
            schema = pq.read_schema(stream) if _ending(name) == ".parquet" else pa.ipc.open_file(stream).schema
        except pa.ArrowInvalid:
            return False
    return bool((schema.metadata or {}).get(b"fer.export") == b"current")


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _contents(store: Store, parts: Sequence[Part], bytes_ahead: int) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each part, as promised. The next ones are fetched meanwhile, since an object store takes its time to answer."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        ahead: list[tuple[Part, Future[bytes]]] = []
        waiting = list(reversed(parts))
        while ahead or waiting:
            while waiting and (not ahead or sum(part.bytes for part, _ in ahead) + waiting[-1].bytes <= bytes_ahead):
                part = waiting.pop()
                ahead.append((part, pool.submit(part_bytes, store, part)))
            part, content = ahead.pop(0)
            yield part.path, content.result()


def _batches(path: str, data: bytes, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a part, some at a time."""
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        check_unpacked(file.metadata, schema.names)
        for batch in file.iter_batches(columns=schema.names):
            yield checked_rows(pa.Table.from_batches([batch]), schema)
    except UNREADABLE as error:
        raise CommitError(f"a part of a committed run is damaged: {path} ({' '.join(str(error).split())[:200]})") from error


def _writer(file: str, ending: str, metadata: Mapping[str, str]) -> "ParquetWriter | CSVWriter | RecordBatchFileWriter":
    schema = LABELS.with_metadata(metadata)
    if ending == ".csv":
        from pyarrow.csv import CSVWriter

        return CSVWriter(file, schema)
    if ending == ".arrow":
        return pa.ipc.new_file(file, schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))
    import pyarrow.parquet as pq

    order = pq.SortingColumn.from_ordering(LABELS, [(name, "ascending") for name in ("image_uri", "face_index")])
    return pq.ParquetWriter(file, schema, compression="zstd", sorting_columns=order)


def _write(  # noqa: PLR0917  (what the file is made of, once)
    tables: Mapping[str, Sequence[pa.Table]],
    file: str,
    ending: str,
    on_progress: Progress,
    limits: RowLimits,
    metadata: Mapping[str, str],
) -> tuple[int, int, int]:
    """Rows, different images, bytes. tables: pieces of each table, every one sorted by URI. metadata: of the file, where it has any."""
    import duckdb

    names = [name for name, pieces in tables.items() for _ in pieces]
    faces = images = done = 0
    total = sum(piece.num_rows for pieces in tables.values() for piece in pieces)
    with duckdb.connect(config=OFFLINE) as database, _writer(file, ending, metadata) as out:
        for slices in merge_by_key([piece for pieces in tables.values() for piece in pieces], limits):
            for table, schema in _READ.items():
                of_table = [piece for name, piece in zip(names, slices, strict=True) if name == table]
                database.register(table, pa.concat_tables([schema.empty_table(), *of_table]))
            rows = database.sql(f"{CURRENT} ORDER BY image_uri, face_index").to_arrow_table().cast(LABELS)
            faces, images = faces + rows.num_rows, images + pc.count_distinct(rows["image_uri"]).as_py()
            if rows.num_rows:
                out.write_table(rows)
            done += sum(piece.num_rows for piece in slices)
            on_progress("written rows", done, total)
    with open(file, "rb") as stream:
        return faces, images, stream.seek(0, 2)
