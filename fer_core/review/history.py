"""Reviews as they are kept: `_meta/reviews/<digest of the file they came in>.parquet`, `record.REVIEWS`.

Files are added and, but for what has to be forgotten, never changed. The root's lease is not needed: each import writes one file of
its own, in one step.
"""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.errors import ReviewError
from fer_core.review.record import REVIEWS, REVIEWS_VERSION, Correction
from fer_core.storage.store import REQUESTS_AT_ONCE, Store
from fer_core.threads import at_once

FOLDER: Final = "_meta/reviews"
_KEY: Final = ("image_sha256", "box_x", "box_y", "box_w", "box_h", "verdict", "reviewed_at", "export_id")
"""The key of a review. The reviewer is not part of it: a file may be imported under another name."""


def history(store: Store) -> pa.Table:
    """Every review that ever came in, `record.REVIEWS`, oldest first. ReviewError where a file is damaged."""
    paths = [path for path in store.list_files(FOLDER) if path.endswith(".parquet")]
    tables = at_once(lambda path: _read(store, path), paths, REQUESTS_AT_ONCE)
    order = [(name, "ascending") for name in ("reviewed_at", "imported_at", "image_sha256", "box_x", "box_y", "verdict")]
    return pa.concat_tables([REVIEWS.empty_table(), *tables]).sort_by(order)


def is_imported(store: Store, data: bytes) -> bool:
    """Whether a file of these bytes came in already."""
    return store.exists(_path(hashlib.sha256(data).hexdigest()))


def record(store: Store, corrections: Sequence[Correction], data: bytes, now_us: int) -> pa.Table:
    """Keep what the history does not have yet, and return it, `record.REVIEWS`. data: the file's bytes, whose digest names the new file.

    Nothing is written where there is nothing new.
    """
    source = hashlib.sha256(data).hexdigest()
    table = as_table(corrections, source, now_us)
    known = set(_keys(history(store)))
    new: list[int] = []
    for row, key in enumerate(_keys(table)):
        if key not in known:
            known.add(key)
            new.append(row)
    table = table.take(pa.array(new, pa.int64()))
    if table.num_rows:
        store.write_bytes(_path(source), _bytes(table))
    return table


def delete_reviews(store: Store, digests: Collection[str], uris: Collection[str] = ()) -> int:
    """Remove every review of the images with these digests or at these addresses, and return how many there were.

    A file that loses rows keeps its name, even without any left: what is forgotten does not come back with the same file.
    """
    images, places = (pa.array(sorted(values), pa.string()) for values in (digests, uris))

    def gone(rows: pa.Table) -> pa.ChunkedArray:
        return pc.or_(pc.is_in(rows["image_sha256"], value_set=images), pc.is_in(rows["image_uri"], value_set=places))

    return remove_reviews(store, gone)


def remove_reviews(store: Store, gone: Callable[[pa.Table], pa.Array | pa.ChunkedArray]) -> int:
    """The same by a condition. gone: for each row of a table, `record.REVIEWS`, whether it goes."""
    removed = 0
    for path, table in review_files(store):
        kept = table.filter(pc.invert(gone(table)))
        if kept.num_rows != table.num_rows:
            removed += table.num_rows - kept.num_rows
            store.write_bytes(path, _bytes(kept))
    return removed


def review_files(store: Store) -> Iterator[tuple[str, pa.Table]]:
    """Path and rows of each file of the history, one in memory at a time. ReviewError where one is damaged."""
    for path in store.list_files(FOLDER):
        if path.endswith(".parquet"):
            yield path, _read(store, path)


def as_table(corrections: Sequence[Correction], source: str = "", now_us: int = 0) -> pa.Table:
    """Corrections as rows, `record.REVIEWS`. source: digest of the file they came in; now_us: when."""
    columns = {
        "image_sha256": [row.image_sha256 for row in corrections],
        "image_uri": [row.image_uri for row in corrections],
        **{f"box_{name}": [row.box[axis] for row in corrections] for axis, name in enumerate("xywh")},
        "verdict": [row.verdict for row in corrections],
        "previous_expression": [row.previous_expression for row in corrections],
        "previous_model": [row.previous_model for row in corrections],
        "reviewer": [row.reviewer for row in corrections],
        "reviewed_at": [row.reviewed_at_us for row in corrections],
        "imported_at": [now_us] * len(corrections),
        "export_id": [row.export_id for row in corrections],
        "source_sha256": [source] * len(corrections),
    }
    return pa.Table.from_arrays([pa.array(columns[field.name], field.type) for field in REVIEWS], schema=REVIEWS)


def _path(source_sha256: str) -> str:
    return f"{FOLDER}/{source_sha256}.parquet"


def _keys(table: pa.Table) -> list[tuple[object, ...]]:
    return list(zip(*(table[name].to_pylist() for name in _KEY), strict=True))


def _bytes(table: pa.Table) -> bytes:
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"fer.reviews_version": str(REVIEWS_VERSION)}), sink, compression="zstd")
    return bytes(sink.getvalue())


def _read(store: Store, path: str) -> pa.Table:
    import pyarrow.parquet as pq

    try:
        found = pq.read_table(pa.BufferReader(store.read_bytes(path))).select(REVIEWS.names).cast(REVIEWS)
        found.validate(full=True)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise ReviewError(f"the reviews in {path} are damaged") from error
    boxes = np.stack([found[f"box_{name}"].to_numpy() for name in "xywh"])
    if any(found[name].null_count for name in REVIEWS.names) or not np.isfinite(boxes).all():
        raise ReviewError(f"the reviews in {path} are damaged (values are missing)")
    return found
