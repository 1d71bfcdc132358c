"""The rows of many parts as one sorted whole, in bounded memory: dealt out to ranges of image URIs on disk, then taken in turn."""

import os
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa

_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")


def cuts(samples: Iterable[tuple[str, int]], most: int) -> list[str]:
    """The first URI of each range but the first, rising.

    samples: URIs with the number of rows that each stands for, in any order, a URI perhaps several times. most: rows a range may hold; only
    the rows of a single URI, which are never parted, may be more.
    """
    found: list[str] = []
    rows = 0
    for uri, weight in sorted(_added(samples).items()):
        if rows and rows + weight > most:
            found.append(uri)
            rows = 0
        rows += weight
    return found


def _added(samples: Iterable[tuple[str, int]]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for uri, weight in samples:
        counted[uri] += weight
    return counted


@dataclass(frozen=True, slots=True)
class UriRanges:
    """Rows by range. Range n holds the URIs from `cuts[n - 1]`, inclusive, to `cuts[n]`, exclusive."""

    folder: str
    """An empty local folder; it fills with files of compressed Arrow batches."""
    cuts: Sequence[str]
    """Rising."""

    def __len__(self) -> int:
        return len(self.cuts) + 1

    def deal(self, name: str, rows: pa.Table) -> None:
        """Add rows, which have a column `image_uri` without nulls, to those of that name. Costs as much memory again as they take."""
        if not rows.num_rows:
            return
        rows = rows.sort_by("image_uri")
        uris = rows["image_uri"].combine_chunks()
        start, last = 0, bisect_right(self.cuts, uris[-1].as_py())
        for number in range(bisect_right(self.cuts, uris[0].as_py()), last + 1):
            stop = len(uris) if number == last else bisect_left(uris, self.cuts[number], start, key=lambda uri: uri.as_py())
            if stop > start:
                self._append(name, number, rows.slice(start, stop - start))
            start = stop

    def take(self, name: str, number: int, schema: pa.Schema) -> pa.Table:
        """The rows of one range, in the order in which they came, as `schema` types them."""
        file = self._file(name, number)
        tables = [schema.empty_table()]
        if os.path.exists(file):
            with pa.OSFile(file) as stream:
                while stream.tell() < os.path.getsize(file):
                    tables.append(pa.ipc.open_stream(stream).read_all())
        return pa.concat_tables(tables)

    def _append(self, name: str, number: int, rows: pa.Table) -> None:
        # a stream of its own for each piece: no more than one file is open, however many ranges there are
        with open(self._file(name, number), "ab") as stream, pa.ipc.new_stream(stream, rows.schema, options=_PACKED) as writer:
            writer.write_table(rows)

    def _file(self, name: str, number: int) -> str:
        return os.path.join(self.folder, f"{name}-{number}.arrows")
