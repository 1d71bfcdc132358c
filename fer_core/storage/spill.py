"""Rows by image URI that may exceed memory: beyond a bound they are in an unnamed temporary file, which is mapped."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from mmap import ACCESS_READ, mmap
from tempfile import TemporaryFile, gettempdir
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.storage.uri import as_store_error


@dataclass(frozen=True, slots=True)
class RowLimits:
    """How many rows are in a process's own memory at a time."""

    rows: int = 16_000
    """Of all tables together, 3 MB of an inventory. Further rows go to disk."""
    fewest: int = 500
    """Of each table that is merged, however many there are."""


ROW_LIMITS: Final = RowLimits()


def spill_tables(tables: Iterable[pa.Table], schema: pa.Schema, limits: RowLimits = ROW_LIMITS) -> pa.Table:
    """Tables of `schema` as one, in their order. More than `limits.rows` rows keep no memory that the system cannot reclaim.

    A file of Arrow batches in the folder for temporary files holds them, as long as the table lives. It never has a name, so that none is
    left behind however the process ends. StoreError when it cannot be written.
    """
    pieces = _pieces(iter(tables), schema, limits.rows)
    first = next(pieces)
    second = next(pieces, None)
    return first if second is None else _mapped(chain([first, second], pieces), schema)


def sort_by_uri(table: pa.Table) -> pa.Table:
    """Sorted, rows of the same URI as they came; the same table, not a second one of its size, where it is so already."""
    uris = table["image_uri"]
    in_order = pc.all(pc.less_equal(uris[:-1], uris[1:]), min_count=0).as_py() if len(uris) > 1 else True
    return table if in_order else table.take(pc.sort_indices(uris))


def sorted_runs(tables: Iterable[pa.Table], schema: pa.Schema, limits: RowLimits = ROW_LIMITS) -> list[pa.Table]:
    """Tables of `schema`, each sorted by itself, joined where one starts after the end of the previous one. Spilled.

    A URI's rows keep the order in which they came, also from run to run.
    """
    starts: list[int] = []

    def in_order() -> Iterator[pa.Table]:
        count, last = 0, None
        for table in tables:
            if table.num_rows:
                rows = sort_by_uri(table)
                if last is None or rows["image_uri"][0].as_py() < last:
                    starts.append(count)
                count, last = count + rows.num_rows, rows["image_uri"][-1].as_py()
                yield rows

    spool = spill_tables(in_order(), schema, limits)
    return [spool.slice(start, end - start) for start, end in pairwise([*(starts or [0]), spool.num_rows])]


def merge_by_key(tables: Sequence[pa.Table], limits: RowLimits = ROW_LIMITS) -> Iterator[list[pa.Table]]:
    """Slices of sorted tables, one of each, with all their rows of the URIs up to some one; then the next ones, to the end.

    The slices of one turn have about `limits.rows` rows together; only a URI that has more is not parted.
    """
    at = [0] * len(tables)
    share = max(limits.rows // max(len(tables), 1), limits.fewest)
    while True:
        heads = [(table, min(start + share, table.num_rows) - 1) for table, start in zip(tables, at, strict=True) if start < table.num_rows]
        if not heads:
            return
        last = min(table["image_uri"][row].as_py() for table, row in heads)
        ends = [_end(table["image_uri"], last, start) for table, start in zip(tables, at, strict=True)]
        yield [table.slice(start, end - start) for table, start, end in zip(tables, at, ends, strict=True)]
        at = ends


def _end(uris: pa.ChunkedArray, last: str, start: int) -> int:
    return bisect_right(uris, last, start, key=lambda uri: uri.as_py())


def _mapped(pieces: Iterable[pa.Table], schema: pa.Schema) -> pa.Table:
    with as_store_error("write", "temporary files"):
        where = gettempdir()
    with as_store_error("write to", where):
        # without a buffer, which closing would try to write once more; closed below, as what `pieces` raise is no matter of the folder
        file = TemporaryFile(buffering=0)  # noqa: SIM115  (see above)
    with file:
        with as_store_error("write to", where):
            writer = pa.ipc.new_file(file, schema)
        for piece in pieces:
            with as_store_error("write to", where):
                writer.write_table(piece)
        with as_store_error("write to", where):
            writer.close()
            pa.default_memory_pool().release_unused()  # memory of the pieces, which Arrow would keep for later ones
            return pa.ipc.open_file(pa.py_buffer(mmap(file.fileno(), 0, access=ACCESS_READ))).read_all()


def _pieces(tables: Iterator[pa.Table], schema: pa.Schema, at_once: int) -> Iterator[pa.Table]:
    """The same rows in tables of `at_once` or somewhat more, each in one chunk; one of no rows where there are none."""
    waiting, rows, some = [schema.empty_table()], 0, False
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= at_once:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting, rows, some = [schema.empty_table()], 0, True
    if rows or not some:
        yield pa.concat_tables(waiting).combine_chunks()
