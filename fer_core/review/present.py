"""The current labels as a review sees them: committed, the newest of each face, and of copies of an image only one."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fer_core.export.current_file import export_current
from fer_core.storage.store import Store, open_store
from fer_core.tables.schema import LABELS


@contextmanager
def present_labels(store: Store) -> Iterator["PresentLabels"]:
    """The view `current` in a temporary file, for as long as the block lasts. CommitError where nothing was committed."""
    with TemporaryDirectory(prefix="ferflow-review-") as folder:
        found = export_current(store, open_store(f"{folder}/current"), register=False)
        yield PresentLabels(found.file)


class PresentLabels:
    """Rows of `schema.LABELS`, sorted by image and face. Only what is asked for is in memory."""

    def __init__(self, file: str) -> None:
        self._file = file

    def columns(self, names: Sequence[str], digests: Collection[str] | None = None) -> pa.Table:
        """Some columns, of all images or of those with these digests. Images that are there several times have all their rows."""
        wanted = None if digests is None else pa.array(sorted(digests), pa.string())
        schema = pa.schema([LABELS.field(name) for name in names])
        tables = [schema.empty_table()]
        for batch in self._batches({*names, "image_sha256"}):
            rows = batch if wanted is None else batch.filter(pc.is_in(batch["image_sha256"], value_set=wanted))
            tables.append(rows.select(list(names)).cast(schema))
        return pa.concat_tables(tables)

    def rows(self, numbers: NDArray[np.intp]) -> pa.Table:
        """Whole rows by number, in that order."""
        wanted, order = np.unique(numbers, return_inverse=True)
        tables, start = [LABELS.empty_table()], 0
        for batch in self._batches(LABELS.names):
            inside = wanted[(wanted >= start) & (wanted < start + batch.num_rows)] - start
            tables.append(batch.take(pa.array(inside, pa.int64())).cast(LABELS))
            start += batch.num_rows
        return pa.concat_tables(tables).take(pa.array(order, pa.int64()))

    def of_images(self, digests: Collection[str]) -> pa.Table:
        """Whole rows of the images with these digests, each image once."""
        rows = self.columns(LABELS.names, digests)
        return rows.take(pa.array(deduplicate(rows), pa.int64()))

    def _batches(self, names: Collection[str]) -> Iterator[pa.Table]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._file) as opened:
            for batch in opened.iter_batches(columns=[name for name in LABELS.names if name in names]):
                yield pa.Table.from_batches([batch])


def deduplicate(rows: pa.Table) -> NDArray[np.intp]:
    """Numbers of the rows that stand when each image counts once: of URIs with the same digest the one labelled last, then the first.

    rows: `image_uri`, `image_sha256` and `labeled_at`, sorted by URI. Rows without a digest never stand.
    """
    numbered = rows.select(["image_sha256", "image_uri", "labeled_at"]).append_column("row", pa.array(np.arange(rows.num_rows)))
    numbered = numbered.filter(pc.is_valid(numbered["image_sha256"]))
    if not numbered.num_rows:
        return np.zeros(0, np.intp)
    order = [("image_sha256", "ascending"), ("labeled_at", "descending"), ("image_uri", "ascending"), ("row", "ascending")]
    ordered = numbered.sort_by(order)
    digests, uris = (ordered[name].combine_chunks().dictionary_encode().indices.to_numpy() for name in ("image_sha256", "image_uri"))
    starts = np.flatnonzero(np.r_[True, digests[1:] != digests[:-1]])
    standing = np.repeat(uris[starts], np.diff(np.r_[starts, len(digests)]))
    return np.sort(ordered["row"].to_numpy()[uris == standing]).astype(np.intp)


def boxes_of(rows: pa.Table) -> NDArray[np.float32]:
    """(N, 4) x, y, width, height."""
    return np.stack([rows[f"box_{name}"].to_numpy() for name in "xywh"], axis=1).astype(np.float32).reshape(-1, 4)
