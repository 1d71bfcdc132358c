"""Lists of images: .txt (one a line), .csv and .parquet (one column)."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_core.errors import SourceError

SUFFIXES: Final = (".txt", ".csv", ".parquet")

COLUMNS: Final = (
    *(
        "image_uri",
        "uri",
        "image_path",
        "img_path",
        "photo_path",
        "file_path",
        "filepath",
        "full_path",
        "path",
        "sourcefile",
        "source_file",
    ),
    *("image_url", "url", "image_file", "image_filename", "image_name", "img_name", "file_name", "filename", "image", "img", "file"),
    *("photo", "picture", "dateipfad", "bildpfad", "pfad", "bilddatei", "dateiname", "datei", "bild", "chemin", "fichier", "image_fichier"),
    *("ruta", "archivo", "imagen", "percorso", "immagine"),
)
"""Names of the column that is read, best first, in any case, with `_`, `-` or a space. Without one of them it is the first column."""

_DELIMITERS: Final = ",;\t|"
_EXCEL: Final = re.compile(r"sep=([^\r\n\"\0])\r?\n")
"""First line of a CSV file for Excel. A quote or the end of a line is no delimiter."""
_SAMPLE: Final = 20
"""Lines by which the delimiter is found where no name in the first one is known."""
_SAMPLE_CHARACTERS: Final = 10_000
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


def read_list(name: str, data: bytes, limits: ListLimits = LIMITS, column: str | None = None) -> list[str]:
    """Entries of a list file, in its order, verbatim; blank entries are dropped.

    name: for the suffix and for errors. column: its name; one of `COLUMNS` or the first one if None. SourceError when the content does not
    match the suffix, has no usable column, or exceeds the limits.
    """
    limits.check_bytes(name, len(data))
    if name.lower().endswith(".txt"):
        if column is not None:
            raise SourceError(f"{name} is a text list, which has no columns: leave out --column")
        found = _lines(name, data, limits)
    else:
        read = _csv_column if name.lower().endswith(".csv") else _parquet_column
        found = read(name, data, limits, column)
    return [entry for entry in found if entry and not entry.isspace()]


def is_guess(name: str, data: bytes) -> bool:
    """Whether `read_list` took the first column of a list, for want of a known name. data: as it read it."""
    if name.lower().endswith(".txt"):
        return False
    if name.lower().endswith(".parquet"):
        return _known(pq.ParquetFile(pa.BufferReader(data)).schema_arrow.names) is None
    text, delimiter = _delimited(_text(name, data), None)
    return _known(_row(text.partition("\n")[0].rstrip("\r"), delimiter)) is None


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 text (byte {error.start:,})") from error


def _lines(name: str, data: bytes, limits: ListLimits) -> list[str]:
    limits.check_rows(name, data.count(b"\n"))
    # not splitlines(): it also breaks at characters that file names may hold
    return [line.removesuffix("\r") for line in _text(name, data).split("\n")]


def _csv_column(name: str, data: bytes, limits: ListLimits, column: str | None) -> list[str]:
    text = _text(name, data)
    longest = csv.field_size_limit(len(text) + 1)  # a name that is too long costs its row, not the list
    try:
        text, delimiter = _delimited(text, column)
        lines = _few_cells(io.StringIO(text, newline=""), delimiter)
        rows = (row for row in csv.reader(lines, delimiter=delimiter) if row)
        return list(_column(name, rows, limits, column))
    except csv.Error as error:
        raise SourceError(f"{name} is not a CSV file: {error}") from error
    finally:
        csv.field_size_limit(longest)


def _delimited(text: str, column: str | None) -> tuple[str, str]:
    """The text of a CSV file without Excel's first line, and its delimiter: by that line, else by a known name in the first one, else the
    one that gives all lines the same number of cells, two or more, else the one that gives the first line most.
    """
    if found := _EXCEL.match(text):
        return text[found.end() :], found[1]
    head = text.partition("\n")[0].rstrip("\r")
    heads = {mark: _row(head, mark) for mark in _DELIMITERS}
    known = [mark for mark, cells in heads.items() if _index(cells, column) is not None]
    lines = [line[:_SAMPLE_CHARACTERS] for line in text[: _SAMPLE * _SAMPLE_CHARACTERS].split("\n")[:_SAMPLE] if line.strip()]
    # the comma last: lines that another delimiter cuts evenly may have decimal commas
    even = [mark for mark in "|\t;," if {len(_row(line.rstrip("\r"), mark)) for line in lines} == {max(2, len(heads[mark]))}]
    return text, (known or even or [max(heads, key=lambda mark: len(heads[mark]))])[0]


def _column(name: str, rows: Iterator[list[str]], limits: ListLimits, wanted: str | None) -> Iterator[str]:
    head = next(rows, None)
    if head is None:
        return
    column = _index(head, wanted)
    if column is None and wanted is not None:
        raise _absent(name, wanted, head)
    # a head of unknown names, or no head at all: what looks like a path is data
    if column is None and {"/", "."} & set(head[0]):
        yield head[0]
    for number, row in enumerate(rows, start=1):
        limits.check_rows(name, number)
        if len(row) > (column or 0):
            yield row[column or 0]


def _absent(name: str, wanted: str, head: Sequence[str]) -> SourceError:
    return SourceError(f"{name} has no column named {wanted[:80]}: its columns are {', '.join(head)[:200]}")


def _few_cells(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    for line in lines:
        if line.count(delimiter) > _MOST_CELLS:
            raise csv.Error(f"a line of more than {_MOST_CELLS:,} cells")
        yield line


def _row(line: str, delimiter: str) -> list[str]:
    return next(csv.reader(_few_cells([line], delimiter), delimiter=delimiter), [])


def _index(head: list[str], wanted: str | None) -> int | None:
    """Index of the wanted name in a head, verbatim or else in any case; without one, of the best of `COLUMNS`."""
    if wanted is None:
        return _known(head)
    names, plain = [cell.strip() for cell in head], [_plain(cell) for cell in head]
    return names.index(wanted) if wanted in names else plain.index(_plain(wanted)) if _plain(wanted) in plain else None


def _known(head: list[str]) -> int | None:
    names = [_plain(cell) for cell in head]
    return next((names.index(wanted) for wanted in COLUMNS if wanted in names), None)


def _plain(cell: str) -> str:
    return cell.strip().lower().replace(" ", "_").replace("-", "_")


def _parquet_column(name: str, data: bytes, limits: ListLimits, wanted: str | None) -> list[str]:
    try:
        chosen = _chosen(name, pq.ParquetFile(pa.BufferReader(data)), wanted)
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


def _chosen(name: str, file: pq.ParquetFile, wanted: str | None) -> str:
    names = file.schema_arrow.names
    index = _index(names, wanted)
    if index is None and wanted is not None:
        raise _absent(name, wanted, names)
    field = file.schema_arrow.field(index or 0) if names else None
    if field is None or not _is_text(field.type):
        raise SourceError(f"{name} has no text column named {wanted or ', '.join(COLUMNS[:5]) + ' or alike: choose one with --column'}")
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
