"""Lists of images: .txt (one a line), .csv and .parquet (one column)."""

import csv
import io
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.errors import SourceError

SUFFIXES: Final = (".txt", ".csv", ".parquet")

COLUMNS: Final = ("image_uri", "uri", "path", "image", "file")
"""Names of the column that is read, best first, in any case. Without one of them it is the first column."""

_DELIMITERS: Final = ",;\t"


def is_list(name: str) -> bool:
    """Whether a file of this name lists images instead of being one."""
    return name.lower().endswith(SUFFIXES)


def entries(name: str, data: bytes) -> list[str]:
    """What a list file names, in its order, verbatim; blank entries are dropped.

    name: for the suffix and for errors. SourceError when the content is not what the suffix promises or has no usable column.
    """
    kind = name.lower().rpartition(".")[2]
    found = {"txt": _lines, "csv": _csv_column, "parquet": _parquet_column}[kind](name, data)
    return [entry for entry in found if entry and not entry.isspace()]


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 text (byte {error.start:,})") from error


def _lines(name: str, data: bytes) -> list[str]:
    # not splitlines(): it also breaks at characters that file names may hold
    return [line.removesuffix("\r") for line in _text(name, data).split("\n")]


def _csv_column(name: str, data: bytes) -> list[str]:
    text = _text(name, data)
    first = text.partition("\n")[0].rstrip("\r")
    try:
        delimiter = next((mark for mark in _DELIMITERS if _known(_row(first, mark)) is not None), ",")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    except csv.Error as error:
        raise SourceError(f"{name} is not a CSV file: {error}") from error
    if not rows:
        return []
    column = _known(rows[0])
    if column is None:
        # a head of unknown names, or no head at all: what looks like a path is data
        head = not {"/", "."} & set(rows[0][0])
        return [row[0] for row in rows[1 if head else 0 :]]
    return [row[column] for row in rows[1:] if len(row) > column]


def _row(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter), [])


def _known(head: list[str]) -> int | None:
    """Index of the best of `COLUMNS` in a head."""
    names = [cell.strip().lower() for cell in head]
    return next((names.index(wanted) for wanted in COLUMNS if wanted in names), None)


def _parquet_column(name: str, data: bytes) -> list[str]:
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = file.schema_arrow.names
        column = _known(names) if names else None
        chosen = file.schema_arrow.field(column or 0) if names else None
        if chosen is None or not _is_text(chosen.type):
            raise SourceError(f"{name} has no column of texts named {', '.join(COLUMNS)}")
        values = file.read(columns=[chosen.name]).column(0)
        values.validate(full=True)  # Arrow believes what a file says of itself, of text and of places in dictionaries, until it crashes
        return [value for value in values.to_pylist() if value is not None]
    except (pa.ArrowException, OSError, MemoryError, UnicodeDecodeError) as error:
        raise SourceError(f"{name} is not a readable Parquet file") from error


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
