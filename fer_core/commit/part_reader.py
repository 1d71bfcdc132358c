"""Rows of one published part, checked against its digest and the types of its table. Every reader of committed tables uses this module."""

import hashlib
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from fer_core.commit.manifest import Manifest, Part
from fer_core.errors import CommitError
from fer_core.storage.paths import is_run_id, manifest_file
from fer_core.storage.store import Store
from fer_core.tables.schema import with_added
from fer_core.tables.unpacked_size import CROP_BYTES, check_unpacked

if TYPE_CHECKING:
    from pyarrow.parquet import RowGroupMetaData

LARGEST: Final = {"crop_png": CROP_BYTES}
"""Largest value of a column in bytes, see `check_unpacked`."""
READS: Final = 3
"""How often a part and the manifest are read where they differ: rows may be removed from a part at any time."""
UNREADABLE: Final = (pa.ArrowException, OSError, KeyError, ValueError, TypeError)
"""Errors of reading a file that is not Parquet, or that has other columns."""


def read_part(store: Store, part: Part, schema: pa.Schema, run_id: str, uris: pa.Array | None = None) -> pa.Table:
    """Rows of a part of a committed run. schema: the columns to read, a subset of the table's. uris: see `part_rows`.

    CommitError where the part is missing, is not the file that was committed, lacks a column other than those of `schema.ADDED`, or holds
    one of another type.
    """
    run = f"the committed run {run_id}"
    return part_rows(part_bytes(store, part, run), part.path, schema, run, uris)


def part_bytes(store: Store, part: Part, run: str = "a committed run") -> bytes:
    """Bytes of a part. CommitError if it is missing or differs from the committed file. run: for error messages."""
    if not store.exists(part.path):
        raise CommitError(f"a part of {run} is missing: {part.path}")
    promised: list[Part] = [part]
    for _ in range(READS):
        data = store.read_bytes(part.path)
        if any(_is_file_of(one, data) for one in promised):
            return data
        earlier, promised = promised, _promised_now(store, part)
        if any(_is_file_of(one, data) for one in promised):
            return data
        if promised == earlier or not promised:
            break
    raise CommitError(f"a part of {run} is damaged: {part.path} (it is not the file that was committed)")


def _is_file_of(part: Part, data: bytes) -> bool:
    return len(data) == part.bytes and hashlib.sha256(data).hexdigest() == part.sha256


def _promised_now(store: Store, part: Part) -> list[Part]:
    """What the run's manifest promises of a part now: rows may have been removed from it since the caller read the manifest."""
    run_id = part.path.split("/")[2].removeprefix("run=")
    if not is_run_id(run_id) or not store.exists(manifest_file(run_id)):
        return []
    try:
        manifest = Manifest.from_bytes(store.read_bytes(manifest_file(run_id)))
    except (ValueError, KeyError, TypeError):
        return []
    return [now for now in (*manifest.parts, *manifest.forgetting) if now.path == part.path]


def part_rows(data: bytes, path: str, schema: pa.Schema, run: str = "a committed run", uris: pa.Array | None = None) -> pa.Table:
    """Rows from a part's bytes. uris: strings, only the rows of these images; row groups without them are not decoded. None: all rows."""
    import pyarrow.compute as pc  # loads for 30 ms: a shard whose images are all new reads no part
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            check_unpacked(file.metadata, schema.names, LARGEST)
            if uris is None:
                return checked_rows(file.read(columns=schema.names, use_threads=False), schema)
            found = [schema.empty_table()]
            for number in range(file.num_row_groups):
                if _may_hold(file.metadata.row_group(number), uris):
                    rows = checked_rows(file.read_row_group(number, columns=schema.names, use_threads=False), schema)
                    found.append(rows.filter(pc.is_in(rows["image_uri"], value_set=uris)))
            return pa.concat_tables(found)
    except UNREADABLE as error:
        raise CommitError(f"a part of {run} is damaged: {path} ({' '.join(str(error).split())[:200]})") from error


def checked_rows(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, as it types them; see `with_added`. One of `UNREADABLE` for rows that cannot be those."""
    found = with_added(rows, schema).select(schema.names).replace_schema_metadata(None).cast(schema)
    found.validate(full=True)  # Arrow believes what a file says of its texts until it crashes
    if "image_uri" in schema.names and found["image_uri"].null_count:
        raise ValueError("rows without an image")
    return found


def _may_hold(group: "RowGroupMetaData", uris: pa.Array) -> bool:
    """Whether one of the URIs is in the row group's min-max range. Without a range, as for long URIs, it may hold any of them."""
    import pyarrow.compute as pc

    columns = (group.column(number) for number in range(group.num_columns))
    told = next((column.statistics for column in columns if column.path_in_schema == "image_uri"), None)
    if told is None or not told.has_min_max:
        return True
    inside = pc.and_(pc.greater_equal(uris, told.min), pc.less_equal(uris, told.max))
    return bool(pc.any(inside).as_py())
