"""Parquet parts: tables -> the bytes of one file, sorted and with provenance. `commit.part_reader` reads them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import pyarrow as pa


class OverlapError(ValueError):
    """Tables to be written one after another are not in order."""


GROUP_ROWS: Final = 16_000
"""Rows of a long file that are encoded together."""
GROUP_BYTES: Final = 16 * 2**20
"""Bytes of rows with pictures that are encoded together."""


def merged(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of one schema as one, sorted by URI and, where there is one, face index."""
    keys = [(name, "ascending") for name in ("image_uri", "face_index") if name in tables[0].column_names]
    return pa.concat_tables(tables).sort_by(keys)


def write_part(table: pa.Table, metadata: Mapping[str, str]) -> bytes:
    """The table as one Parquet file in memory: zstd, statistics, field ids, the sorting columns and the `fer.*` key-value pairs recorded.

    The same rows and metadata give the same bytes.
    """
    sink = pa.BufferOutputStream()
    _write(table.combine_chunks(), metadata, sink, table.num_rows)
    return bytes(sink.getvalue())


def write_merged(tables: Iterable[pa.Table], schema: pa.Schema, metadata: Mapping[str, str], group_rows: int = GROUP_ROWS) -> bytes:
    """The same for tables that follow each other in the order of `write_part`; one is in memory at a time.

    Row groups hold whole tables, up to about `group_rows` rows or `GROUP_BYTES` bytes. OverlapError where a table begins before the end of
    the one before it.
    """
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        schema.with_metadata(dict(sorted(metadata.items()))),
        compression="zstd",
        write_statistics=True,
        sorting_columns=pq.SortingColumn.from_ordering(schema, _order(schema)),
    ) as writer:
        for group in _row_groups(tables, schema, group_rows):
            writer.write_table(group.replace_schema_metadata(writer.schema.metadata), row_group_size=max(group.num_rows, 1))
    return bytes(sink.getvalue())


def write_rows(table: pa.Table, metadata: Mapping[str, str], file: str) -> None:
    """The same into a local file, `GROUP_ROWS` at a time, for a table that is not in memory. OSError when it cannot be written."""
    _write(table, metadata, file, GROUP_ROWS)


def _write(table: pa.Table, metadata: Mapping[str, str], sink: "pa.NativeFile | str", group_rows: int) -> None:
    import pyarrow.parquet as pq

    pq.write_table(
        table.replace_schema_metadata(dict(sorted(metadata.items()))),
        sink,
        row_group_size=max(group_rows, 1),
        compression="zstd",
        write_statistics=True,
        sorting_columns=pq.SortingColumn.from_ordering(table.schema, _order(table.schema)),
    )


def _order(schema: pa.Schema) -> list[tuple[str, str]]:
    return [(name, "ascending") for name in ("image_uri", "face_index") if name in schema.names]


def _row_groups(tables: Iterable[pa.Table], schema: pa.Schema, group_rows: int) -> Iterator[pa.Table]:
    """Neighbouring tables joined up to the size of a row group. OverlapError."""
    waiting: list[pa.Table] = []
    last = ""
    for table in tables:
        if not table.num_rows:
            continue
        first = table["image_uri"][0].as_py()
        if first < last:
            raise OverlapError(f"{first} comes after {last}")
        last = table["image_uri"][-1].as_py()
        waiting.append(table.select(schema.names).cast(schema))
        if sum(one.num_rows for one in waiting) >= group_rows or sum(one.nbytes for one in waiting) >= GROUP_BYTES:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()
