"""The committed parts of a table registered as a Delta table: a transaction log is written beside the tables, and no part is touched.

A log cannot lie under a table's prefix, where nothing but Parquet does, and should not lie at the root, where a vacuum of one table
removes the others. So it lies under `_meta/delta/<table>` and names the parts by absolute URLs, as the Delta protocol allows ("Add File and
Remove File"). `DeltaTable.scan` and `QueryBuilder`, which are DataFusion, read such a table; `DeltaTable.to_pyarrow_dataset`, `to_pandas`
and Polars' `scan_delta` put the table's own folder before every path and find nothing (delta-io/delta-rs, issue 865).
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

import pyarrow as pa

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.errors import CommitError, StoreError
from fer_core.storage.s3 import table_options
from fer_core.storage.store import Store
from fer_core.storage.uri import as_store_error
from fer_core.tables.schema import ADDED, IMAGES, LABELS

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, CommitProperties, RemoveAction

SCHEMAS: Final = {"labels": LABELS, "images": IMAGES}

_PARTITIONS: Final = {"run_date": pa.date32(), "run": pa.string()}
_FOR_EVER: Final = {"delta.logRetentionDuration": "interval 36500 days", "delta.enableExpiredLogCleanup": "false"}
"""Old versions stay readable."""
_DECORATION: Final = re.compile("\x1b\\[[0-9;]*m|↳")


@dataclass(frozen=True, slots=True)
class Registered:
    """What the Delta table is after a registration."""

    table: str
    """URL of the Delta table."""
    version: int
    """Its newest version."""
    runs: tuple[str, ...]
    """Ids of the runs that this registration added, oldest commit first."""
    parts: int
    """Files in the newest version."""


def register(store: Store, table: str, schemas: Mapping[str, pa.Schema] = SCHEMAS) -> Registered:
    """Add to the Delta table what committed runs have written since it was last registered: a version a run, in order of their commits.

    table: `labels` or `images`. schemas: the columns of each. Where a run has other parts now, as compactions of earlier releases left
    them, they replace the old ones in one version. A table that an earlier release made first gets the columns that came later, in a
    version of their own. Reads manifests, not parts. StoreError when deltalake is not installed or fails, or when another process registers
    at the same time; CommitError when no run has written such a table.
    """
    _check(store)
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    manifests = sorted((found for found in manifests if found.parts_of(table)), key=lambda found: (found.committed_at, found.run_id))
    if not manifests:
        raise CommitError(f"no run that wrote {table} has been committed under {store.url()} yet")
    with as_store_error("register", _location(store, table)):
        try:
            return _register(store, table, manifests, schemas[table])
        except _failures() as error:
            raise StoreError(f"cannot register {_location(store, table)}: {_one_line(error)}") from error


def refresh(store: Store, table: str) -> int | None:
    """Correct the entries of parts from which rows were removed since they were registered, one version a run, and add no run.

    Returns the newest version; None where the table was never registered. Earlier versions name the parts with their earlier sizes, and
    cannot be read where those were replaced. StoreError as for `register`.
    """
    if not store.list_files(f"_meta/delta/{table}/_delta_log"):
        return None
    _check(store)
    with as_store_error("register", _location(store, table)):
        try:
            log = _Log(store, table, SCHEMAS[table])
            log.correct([read_manifest(store, run_id) for run_id in committed_runs(store)])
            return log.version()
        except _failures() as error:
            raise StoreError(f"cannot register {_location(store, table)}: {_one_line(error)}") from error


def _check(store: Store) -> None:
    try:
        import deltalake  # noqa: F401  (an extra)
    except ImportError as error:
        raise StoreError("a Delta table needs the package deltalake: pip install 'ferflow[delta]'") from error
    if store.url().startswith("memory://") or "%" in store.url():
        raise StoreError(f"deltalake cannot open {store.url()}: it supports neither memory:// nor % in a name")


def _register(store: Store, table: str, manifests: Sequence[Manifest], schema: pa.Schema) -> Registered:
    log, added = _Log(store, table, schema), []
    log.correct(manifests)
    held = log.parts()
    promised = {store.url(part.path) for manifest in manifests for part in manifest.parts_of(table)}
    gone: dict[str, list[str]] = {}
    for url in sorted(held.keys() - promised):
        gone.setdefault(str(_values(url)["run"]), []).append(url)
    for manifest in manifests:
        news = [part for part in manifest.parts_of(table) if store.url(part.path) not in held]
        old = gone.pop(manifest.run_id, [])
        if old:
            same = sum(held[url] for url in old) == sum(part.rows for part in news)
            log.replace(manifest.run_id, old, [log.add(manifest, part, not same) for part in news], not same)
        elif news:
            log.append(manifest, [log.add(manifest, part, True) for part in news])
            added.append(manifest.run_id)
    for run_id, old in gone.items():
        log.replace(run_id, old, [], True)
    return Registered(log.url, log.version(), tuple(added), len(promised))


class _Log:
    """The transaction log of one table."""

    def __init__(self, store: Store, table: str, schema: pa.Schema) -> None:
        self.url = _location(store, table)
        self._store, self._table, self._columns = store, table, schema
        self._options = _storage_options(store)

    def version(self) -> int:
        """The newest one, from 0; -1 while there is no table."""
        table = self._opened()
        return -1 if table is None else table.version()

    def parts(self) -> dict[str, int]:
        """URLs of the parts in the newest version, with their rows; none while there is no table."""
        table = self._opened()
        if table is None:
            return {}
        added = pa.table(table.get_add_actions())
        return dict(zip(_urls(added), added["num_records"].to_pylist(), strict=True))

    def correct(self, manifests: Sequence[Manifest]) -> None:
        """One version for each run of which a part has another size now. Of two entries of one file the newest counts."""
        table = self._opened()
        held = {} if table is None else _sizes(pa.table(table.get_add_actions()))
        for manifest in manifests:
            parts = [part for part in manifest.parts_of(self._table) if held.get(self._store.url(part.path), part.bytes) != part.bytes]
            if parts:
                properties = _properties({"fer.run_id": manifest.run_id, "fer.rewritten_parts": len(parts)})
                self._commit([self.add(manifest, part, True) for part in parts], properties)

    def append(self, manifest: Manifest, adds: "Sequence[AddAction]") -> None:
        """One version with the parts of one run, the first of which makes the table."""
        from deltalake import Schema
        from deltalake.transaction import create_table_with_add_actions

        properties = _properties({"fer.run_id": manifest.run_id, "fer.purpose": manifest.purpose})
        if self.version() >= 0:
            self._commit(adds, properties)
            return
        create_table_with_add_actions(
            self._uri(),
            Schema.from_arrow(self._schema()),
            list(adds),
            mode="error",
            partition_by=list(_PARTITIONS),
            name=f"ferflow {self._table}",
            configuration=_FOR_EVER,
            storage_options=self._options,
            commit_properties=properties,
        )

    def replace(self, run_id: str, gone: Sequence[str], adds: "Sequence[AddAction]", changes: bool) -> None:
        """One version in which a run has other parts. changes: whether it has other rows, too."""
        from deltalake.transaction import RemoveAction

        now = time.time_ns() // 1_000_000
        removes = [RemoveAction(_absolute(url), changes, now, partition_values=_values(url)) for url in gone]
        self._commit([*removes, *adds], _properties({"fer.run_id": run_id, "fer.replaced_parts": len(gone)}))

    def add(self, manifest: Manifest, part: Part, changes: bool) -> "AddAction":
        """The log's entry of one part. changes: whether its rows are new to the table."""
        from deltalake.transaction import AddAction

        written = int(datetime.fromisoformat(manifest.committed_at).timestamp() * 1000)
        url = self._store.url(part.path)
        return AddAction(_absolute(url), part.bytes, _values(url), written, changes, json.dumps({"numRecords": part.rows}))

    def _commit(self, actions: "Sequence[AddAction | RemoveAction]", properties: "CommitProperties") -> None:
        table = self._opened()
        if table is None:
            raise StoreError(f"the Delta table {self.url} was deleted")
        self._add_columns(table)
        table.create_write_transaction(list(actions), "append", self._schema(), list(_PARTITIONS), commit_properties=properties)

    def _add_columns(self, table: "DeltaTable") -> None:
        """One version with the columns that the table lacks, where an earlier release made it: a transaction with parts leaves them out."""
        from deltalake import Schema

        known = {field.name for field in table.schema().fields}
        added = [field for field in Schema.from_arrow(self._schema()).fields if field.name in ADDED - known]
        if added:
            table.alter.add_columns(added, commit_properties=_properties({"fer.added_columns": ",".join(field.name for field in added)}))

    def _opened(self) -> "DeltaTable | None":
        """The newest version; None while there is none."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:  # not DeltaTable.is_deltatable: it holds every Python thread up while it waits for the network
            return DeltaTable(self._uri(), storage_options=self._options)
        except TableNotFoundError:
            return None

    def _uri(self) -> str:
        return f"file://{quote(self.url)}" if self._store.local else self.url

    def _schema(self) -> pa.Schema:
        """The columns of the files and of their paths, described as Delta does it."""
        fields = [field.with_metadata({"comment": field.metadata[b"description"]}) for field in self._columns]
        return pa.schema([*fields, *(pa.field(name, kind) for name, kind in _PARTITIONS.items())])


def _location(store: Store, table: str) -> str:
    return store.url(f"_meta/delta/{table}")


def _urls(added: pa.Table) -> list[str]:
    return [unquote(path).removeprefix("file://") for path in added["path"].to_pylist()]


def _sizes(added: pa.Table) -> dict[str, int]:
    """Bytes of the files of a version."""
    return dict(zip(_urls(added), added["size_bytes"].to_pylist(), strict=True))


def _absolute(url: str) -> str:
    """As an action names a file; deltalake encodes it."""
    return f"file://{url}" if url.startswith("/") else url


def _values(url: str) -> dict[str, str | None]:
    """Partition values, from the folders of a part's path."""
    folders = dict(name.split("=", 1) for name in url.split("/")[-3:-1])
    return {name: folders[name] for name in _PARTITIONS}


def _properties(metadata: dict[str, object]) -> "CommitProperties":
    """Metadata of the version. No retry: a commit in between has registered the same parts."""
    from deltalake.transaction import CommitProperties

    return CommitProperties(custom_metadata=metadata, max_commit_retries=0)


def _storage_options(store: Store) -> dict[str, str] | None:
    """The place and the credentials that the store itself has found; None on local disks."""
    return table_options(store.fs, store.root.partition("/")[0]) if "s3" in store.fs.protocol else None


def _failures() -> tuple[type[Exception], ...]:
    from deltalake.exceptions import DeltaError

    return (DeltaError, OSError)


def _one_line(error: Exception) -> str:
    """deltalake writes a chain of causes, one a line, with arrows in colours."""
    causes = [line.strip() for line in _DECORATION.sub("", str(error)).splitlines()]
    return ": ".join(filter(None, causes)).rstrip(".") or type(error).__name__
