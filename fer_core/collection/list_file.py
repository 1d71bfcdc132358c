"""Lists of images: .txt (one a line), .csv and .parquet (one column)."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_core.errors import SourceError

SUFFIXES: Final = (".txt", ".csv", ".parquet")

COLUMNS: Final = ("image_uri", "uri", "path", "image", "file")
"""Names of the column that is read, best first, in any case. Without one of them it is the first column."""

_DELIMITERS: Final = ",;\t"
_MOST_CELLS: Final = 100_000
"""Of a line of a CSV file. Each takes 50 bytes and more of memory, whatever is in it."""
_ROWS_AT_ONCE: Final = 2**16


@dataclass(frozen=True, slots=True)
class ListLimits:
    """How much of a list file is read; a larger one is refused as a whole, before it fills the memory."""

    rows: int = 10_000_000
    bytes: int = 2**30
    """Of the file, and of the names in it: a Parquet file of some bytes can hold gigabytes of them."""

    def check_rows(self, name: str, rows: int) -> None:
        """SourceError where a list has more."""
        if rows > self.rows:
            raise SourceError(f"{name} has more than {self.rows:,} rows: split the list, or raise --max-list-rows")

    def check_bytes(self, name: str, size: int) -> None:
        """SourceError where a list has more."""
        if size > self.bytes:
            raise SourceError(f"{name} has more than {self.bytes:,} bytes: split the list, or raise --max-list-bytes")


LIMITS: Final = ListLimits()


def is_list(name: str) -> bool:
    """Whether a file of this name lists images instead of being one."""
    return name.lower().endswith(SUFFIXES)


def read_list(name: str, data: bytes, limits: ListLimits = LIMITS) -> list[str]:
    """Entries of a list file, in its order, verbatim; blank entries are dropped.

    name: for the suffix and for errors. SourceError when the content does not match the suffix, has no usable column, or exceeds the
    limits.
    """
    limits.check_bytes(name, len(data))
    kind = name.lower().rpartition(".")[2]
    found = {"txt": _lines, "csv": _csv_column, "parquet": _parquet_column}[kind](name, data, limits)
    return [entry for entry in found if entry and not entry.isspace()]


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 text (byte {error.start:,})") from error


def _lines(name: str, data: bytes, limits: ListLimits) -> list[str]:
    limits.check_rows(name, data.count(b"\n"))
    # not splitlines(): it also breaks at characters that file names may hold
    return [line.removesuffix("\r") for line in _text(name, data).split("\n")]


def _csv_column(name: str, data: bytes, limits: ListLimits) -> list[str]:
    text = _text(name, data)
    first = text.partition("\n")[0].rstrip("\r")
    longest = csv.field_size_limit(len(text) + 1)  # a name that is too long costs its row, not the list
    try:
        delimiter = next((mark for mark in _DELIMITERS if _known(_row(first, mark)) is not None), ",")
        lines = _few_cells(io.StringIO(text, newline=""), delimiter)
        rows = (row for row in csv.reader(lines, delimiter=delimiter) if row)
        return list(_column(name, rows, limits))
    except csv.Error as error:
        raise SourceError(f"{name} is not a CSV file: {error}") from error
    finally:
        csv.field_size_limit(longest)


def _column(name: str, rows: Iterator[list[str]], limits: ListLimits) -> Iterator[str]:
    head = next(rows, None)
    if head is None:
        return
    column = _known(head)
    # a head of unknown names, or no head at all: what looks like a path is data
    if column is None and {"/", "."} & set(head[0]):
        yield head[0]
    for number, row in enumerate(rows, start=1):
        limits.check_rows(name, number)
        if len(row) > (column or 0):
            yield row[column or 0]


def _few_cells(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    for line in lines:
        if line.count(delimiter) > _MOST_CELLS:
            raise csv.Error(f"a line of more than {_MOST_CELLS:,} cells")
        yield line


def _row(line: str, delimiter: str) -> list[str]:
    return next(csv.reader(_few_cells([line], delimiter), delimiter=delimiter), [])


def _known(head: list[str]) -> int | None:
    """Index of the best of `COLUMNS` in a head."""
    names = [cell.strip().lower() for cell in head]
    return next((names.index(wanted) for wanted in COLUMNS if wanted in names), None)


def _parquet_column(name: str, data: bytes, limits: ListLimits) -> list[str]:
    try:
        chosen = _chosen(name, pq.ParquetFile(pa.BufferReader(data)))
        # as a dictionary, a repeated name is in memory once
        file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=[chosen])
        limits.check_rows(name, file.metadata.num_rows)
        for group in range(file.num_row_groups):
            limits.check_bytes(name, _unpacked(file.metadata.row_group(group), chosen))
        found: list[str] = []
        size = 0
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[chosen], use_threads=False):
            column = batch.column(0)
            column.validate(full=True)  # Arrow trusts a file's text and dictionary indices, and crashes on wrong ones
            size += _bytes(column)
            limits.check_bytes(name, size)
            found += [value for value in column.to_pylist() if value is not None]
            limits.check_rows(name, len(found))
        return found
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise SourceError(f"{name} is not a readable Parquet file") from error


def _chosen(name: str, file: pq.ParquetFile) -> str:
    names = file.schema_arrow.names
    field = file.schema_arrow.field(_known(names) or 0) if names else None
    if field is None or not _is_text(field.type):
        raise SourceError(f"{name} has no text column named {', '.join(COLUMNS)}")
    return str(field.name)


def _unpacked(group: pq.RowGroupMetaData, column: str) -> int:
    """Uncompressed bytes of a column in a row group, from the file's metadata."""
    parts = (group.column(number) for number in range(group.num_columns))
    return sum(part.total_uncompressed_size for part in parts if part.path_in_schema == column)


def _bytes(column: pa.Array) -> int:
    """Of all names in a column, repeated ones included."""
    lengths = pc.binary_length(column.dictionary).take(column.indices) if pa.types.is_dictionary(column.type) else pc.binary_length(column)
    return int(pc.sum(lengths.cast(pa.int64())).as_py() or 0)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
