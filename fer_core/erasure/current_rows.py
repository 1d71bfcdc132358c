"""Rows of an export of current labels, as Parquet, Arrow or CSV: those that name images, and the same file without some of them."""

import csv
import os
from collections.abc import Callable, Iterator
from typing import IO, Final

import pyarrow as pa

from fer_core.commit.deny_list import BOX
from fer_core.tables.schema import LABELS
from fer_core.tables.unpacked_size import check_group

_NAMING: Final = pa.schema([LABELS.field(name) for name in ("image_uri", "image_sha256", *BOX)]).remove_metadata()
_ROWS: Final = 50_000
"""Of a CSV file, at a time."""

Keep = Callable[[pa.Table], pa.Array]
"""For each row, with address, digest and box, whether it stays."""


def naming_rows(stream: IO[bytes], url: str) -> Iterator[pa.Table]:
    """Address, digest and box of all rows, some at a time. ValueError, KeyError or TypeError where it is no export of current labels."""
    ending = _ending(url)
    if ending == ".csv":
        for rows, _ in _csv(stream):
            yield rows
    elif ending == ".arrow":
        with pa.ipc.open_file(stream) as file:
            _check(file.schema)
            for number in range(file.num_record_batches):
                yield _naming(pa.Table.from_batches([file.get_batch(number)]))
    else:
        import pyarrow.parquet as pq

        with pq.ParquetFile(stream) as file:
            _check(file.schema_arrow)
            for number in range(file.num_row_groups):
                check_group(file.metadata.row_group(number), _NAMING.names)
                yield _naming(file.read_row_group(number, _NAMING.names, use_threads=False))


def write_kept(stream: IO[bytes], url: str, new: str, keep: Keep) -> None:
    """Write the rows that stay to a local file, in their order and in the same format. Raises as `naming_rows`."""
    ending = _ending(url)
    if ending == ".csv":
        with open(new, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
            for number, (rows, texts) in enumerate(_csv(stream)):
                out.writelines(texts[:1] if number == 0 else [])
                out.writelines(text for text, stays in zip(texts[number == 0 :], keep(rows).to_pylist(), strict=True) if stays)
    elif ending == ".arrow":
        with pa.ipc.open_file(stream) as file, pa.ipc.new_file(new, file.schema) as out:
            _check(file.schema)
            for number in range(file.num_record_batches):
                rows = pa.Table.from_batches([file.get_batch(number)])
                out.write_table(rows.filter(keep(_naming(rows))))
    else:
        import pyarrow.parquet as pq

        with pq.ParquetFile(stream) as file:
            _check(file.schema_arrow)
            order = pq.SortingColumn.from_ordering(file.schema_arrow, [("image_uri", "ascending"), ("face_index", "ascending")])
            with pq.ParquetWriter(new, file.schema_arrow, compression="zstd", sorting_columns=order) as out:
                for number in range(file.num_row_groups):
                    check_group(file.metadata.row_group(number), file.schema_arrow.names)
                    rows = file.read_row_group(number, use_threads=False)
                    left = rows.filter(keep(_naming(rows)))
                    if left.num_rows:
                        out.write_table(left)


def _ending(url: str) -> str:
    return os.path.splitext(url)[1].lower()


def _check(schema: pa.Schema) -> None:
    if (schema.metadata or {}).get(b"fer.export") != b"current":
        raise ValueError("without the mark of an export")


def _naming(rows: pa.Table) -> pa.Table:
    return rows.select(_NAMING.names).cast(_NAMING)


def _csv(stream: IO[bytes]) -> Iterator[tuple[pa.Table, list[str]]]:
    """Some rows at a time, with the text of each as it is in the file. The first piece has the text of the header before them."""
    raw = list[str]()

    def lines() -> Iterator[str]:
        for line in stream:
            raw.append(line.decode("utf-8", "surrogateescape"))
            yield raw[-1]

    records = csv.reader(lines(), strict=True)
    header = next(records, [])
    if not set(LABELS.names) <= set(header):
        raise ValueError("without the columns of an export")
    at = [header.index(name) for name in _NAMING.names]
    texts, values = ["".join(raw)], list[list[str | None]]()
    raw.clear()
    for record in records:
        texts.append("".join(raw))
        values.append([record[column] or None for column in at] if len(record) == len(header) else [])
        raw.clear()
        if len(values) == _ROWS:
            yield _table(values), texts
            texts, values = [], []
    yield _table(values), texts


def _table(values: list[list[str | None]]) -> pa.Table:
    columns = [pa.array([row[number] for row in values], pa.string()).cast(field.type) for number, field in enumerate(_NAMING)]
    return pa.Table.from_arrays(columns, schema=_NAMING)
