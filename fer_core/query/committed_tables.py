"""The tables of a root as datasets of the parts that its manifests name, and what the manifests themselves say as tables."""

import datetime
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import read_part
from fer_core.errors import StoreError
from fer_core.storage.store import REQUESTS_AT_ONCE, Store
from fer_core.tables.schema import IMAGE_STATUSES, SCHEMAS, TIMESTAMP
from fer_core.threads import at_once

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset

RUN_DATE: Final = pa.field("run_date", pa.date32())
"""Of the path, not of the files: the day on which the run was planned."""

RUNS: Final = pa.schema(
    [
        ("run_id", pa.string()),
        RUN_DATE,
        *((name, pa.string()) for name in ("source", "purpose", "detector", "model_name", "model_digest", "prior", "pipeline_digest")),
        *((name, pa.int64()) for name in ("listed", "unchanged", "reused", "deleted", "excluded", *IMAGE_STATUSES, "faces", "bytes")),
        ("busy_seconds", pa.float64()),
        ("started_at", TIMESTAMP),
        ("committed_at", TIMESTAMP),
    ]
)
"""One row a committed run. `bytes` are those of its parts, `busy_seconds` those of its workers."""

MODELS: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("model_name", "model_digest")),
        *((name, pa.int64()) for name in ("runs", "faces")),
        *((name, TIMESTAMP) for name in ("first_started_at", "last_started_at")),
    ]
)
"""One row a model that committed runs used."""


def columns_of(table: str) -> pa.Schema:
    """The columns of `labels`, `images` or `faces`, with the day in the path at the end."""
    return pa.schema([*SCHEMAS[table], RUN_DATE])


def committed(store: Store, manifests: Sequence[Manifest], table: str) -> "Dataset":
    """A table of these runs, `columns_of`, which is read when it is scanned. Columns that earlier releases did not write are null.

    StoreError where the path is not UTF-8, which Arrow cannot name.
    """
    import pyarrow.dataset as ds

    schema, parts = columns_of(table), [(manifest, part) for manifest in manifests for part in manifest.parts_of(table)]
    if not parts:
        return ds.dataset(schema.empty_table())
    paths = [f"{store.root.rstrip('/')}/{part.path}" for _, part in parts]
    days = [ds.field(RUN_DATE.name) == _day(manifest) for manifest, _ in parts]
    try:
        return ds.FileSystemDataset.from_paths(paths, schema, ds.ParquetFileFormat(), _filesystem(store), days)
    except UnicodeEncodeError as error:
        raise StoreError(f"Arrow cannot name a path that is not UTF-8: {store.url()}") from error


def verified(store: Store, manifests: Sequence[Manifest], table: str) -> "Dataset":
    """The same in memory, of parts whose digests are those of the manifests. CommitError where one is missing or damaged."""
    import pyarrow.dataset as ds

    def rows(promised: tuple[Manifest, Part]) -> pa.Table:
        manifest, part = promised
        found = read_part(store, part, SCHEMAS[table], manifest.run_id)
        return found.append_column(RUN_DATE, pa.repeat(_day(manifest), found.num_rows))

    parts = [(manifest, part) for manifest in manifests for part in manifest.parts_of(table)]
    return ds.dataset(pa.concat_tables([columns_of(table).empty_table(), *at_once(rows, parts, REQUESTS_AT_ONCE)]))


def runs_table(manifests: Iterable[Manifest]) -> pa.Table:
    """`RUNS`, in order of their starts."""
    ordered = sorted(manifests, key=lambda manifest: (manifest.started_at, manifest.run_id))
    return pa.Table.from_pylist([_run(manifest) for manifest in ordered], RUNS)


def models_table(manifests: Iterable[Manifest]) -> pa.Table:
    """`MODELS`, in order of their first runs."""
    rows = runs_table(manifests).group_by(["model_name", "model_digest"], use_threads=False)
    found = rows.aggregate([([], "count_all"), ("faces", "sum"), ("started_at", "min"), ("started_at", "max")])
    return found.rename_columns(MODELS.names).cast(MODELS).sort_by("first_started_at")


def _run(manifest: Manifest) -> dict[str, object]:
    own = {name: getattr(manifest, name) for name in RUNS.names if hasattr(manifest, name)}
    return {
        **own,
        **{status: manifest.statuses.get(status, 0) for status in IMAGE_STATUSES},
        "run_date": datetime.date.fromisoformat(manifest.run_date),
        "prior": str(manifest.config.get("prior", "training")),
        "bytes": sum(part.bytes for part in manifest.parts),
        "busy_seconds": sum(manifest.seconds.values()),
        "started_at": datetime.datetime.fromisoformat(manifest.started_at),
        "committed_at": datetime.datetime.fromisoformat(manifest.committed_at),
    }


def _day(manifest: Manifest) -> pa.Scalar:
    return pa.scalar(datetime.date.fromisoformat(manifest.run_date), RUN_DATE.type)


def _filesystem(store: Store) -> "pa.fs.FileSystem":
    from pyarrow import fs

    return fs.LocalFileSystem() if store.local else fs.PyFileSystem(fs.FSSpecHandler(store.fs))
