"""The tables of a labels root for scripts and notebooks, of committed runs only."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from fer_core.commit.reader import committed_manifests
from fer_core.errors import CommitError, UsageError
from fer_core.export.current_view import CURRENT
from fer_core.isolation import OFFLINE
from fer_core.query.committed_tables import columns_of, committed, models_table, runs_table, verified
from fer_core.query.interruptible import interruptible
from fer_core.storage.store import open_store
from fer_core.storage.uri import error_text
from fer_core.tables.schema import SCHEMAS

if TYPE_CHECKING:
    from pyarrow.compute import Expression
    from pyarrow.dataset import Dataset

TABLES: Final = (*SCHEMAS, "runs", "models", "reviews")
_ANSWERS: Final = ("image_uri", "image_sha256", "status", "run_id", "seen_at")
"""Of `images`, which decide what is current."""
_ORDER: Final = ("image_uri", "face_index", "run_date", "run_id")


def read_labels(
    root: str,
    *,
    table: str = "labels",
    current: bool = True,
    columns: Sequence[str] | None = None,
    where: "Expression | None" = None,
    verify: bool = False,
) -> pa.Table:
    """The rows of a table in the committed runs of a labels root, on a local disk or in an object store, sorted by image and face.

    table: `labels`, `images`, `faces`, or `runs`, `models` and `reviews`, which are always whole.
    current: the newest answer for each image alone, as the view `current`; else the rows of every run.
    columns: which ones; by default all that docs/reference/data-dictionary.md lists. `run_date`, the day in the path, can be named, too.
    where: rows to keep, such as `pyarrow.compute.field("confidence") > 0.9`. Parts that cannot hold any are not read.
    verify: whether to check each part's digest first; then every part that is needed is read whole.

    Ctrl-C ends it at once, with a KeyboardInterrupt. `.to_pandas()` and `polars.from_arrow` take the result.
    UsageError: no such table or column. CommitError: no committed run, or a part
    that is missing or damaged. StoreError: the root cannot be read.
    """
    if table not in TABLES:
        raise UsageError(f"there is no table {table!r}: choose one of {', '.join(TABLES)}")
    store = open_store(root)
    manifests = committed_manifests(store)
    if table not in SCHEMAS:
        from fer_core.review.history import history

        whole = history(store) if table == "reviews" else runs_table(manifests) if table == "runs" else models_table(manifests)
        return _selected(whole, columns, where)
    schema = columns_of(table)
    chosen = _checked(columns or SCHEMAS[table].names, schema)
    source = verified if verify else committed
    with _readable(store.url()):
        rows, images = source(store, manifests, table), source(store, manifests, "images") if current else None
        return _ordered(rows, images, chosen, where, schema).select(chosen)


def _checked(columns: Sequence[str], schema: pa.Schema) -> list[str]:
    unknown = [name for name in columns if name not in schema.names]
    if isinstance(columns, str) or unknown:
        raise UsageError(f"there are no columns {', '.join(map(repr, unknown))}; there are {', '.join(schema.names)}")
    return list(columns)


def _selected(rows: pa.Table, columns: Sequence[str] | None, where: "Expression | None") -> pa.Table:
    chosen = _checked(columns or rows.column_names, rows.schema)
    with _fitting():
        return (rows if where is None else rows.filter(where)).select(chosen)


def _ordered(rows: "Dataset", images: "Dataset | None", columns: Sequence[str], where: "Expression | None", schema: pa.Schema) -> pa.Table:
    """The rows, current ones where there are `images` to say which."""
    import duckdb

    order = [name for name in _ORDER if name in schema.names]
    needed = pa.schema([schema.field(name) for name in dict.fromkeys([*columns, *order])])
    with _fitting():
        wanted = rows.scanner(columns=needed.names, filter=where).to_reader()
    with duckdb.connect(config=OFFLINE) as database, ThreadPoolExecutor(1, "read-labels") as thread:
        database.register("labels", wanted)
        if images is not None:
            database.register("images", images.scanner(columns=list(_ANSWERS)).to_reader())
        chosen = "SELECT * FROM labels" if images is None else CURRENT
        sorted_rows = f"{chosen} ORDER BY {', '.join(order)}"
        return interruptible(database, thread, lambda: database.sql(sorted_rows).to_arrow_table()).cast(needed)


@contextmanager
def _fitting() -> Iterator[None]:
    """Errors of a condition become a UsageError."""
    try:
        yield
    except (pa.ArrowException, TypeError) as error:
        raise UsageError(f"the condition does not fit the table: {error_text(error)[:300]}") from error


@contextmanager
def _readable(root: str) -> Iterator[None]:
    """Errors of a part become a CommitError."""
    import duckdb

    try:
        yield
    except (pa.ArrowException, duckdb.Error, OSError) as error:
        raise CommitError(f"a part below {root} cannot be read ({error_text(error)[:200]}): see ferflow verify") from error
