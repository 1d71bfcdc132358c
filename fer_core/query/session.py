"""SQL over the committed runs of a root, in a DuckDB that reaches nothing else: no file, no network, no extension, no setting."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Final

import duckdb
import pyarrow as pa

from fer_core.commit.reader import committed_manifests
from fer_core.errors import QueryError, UsageError
from fer_core.export.current_view import CURRENT
from fer_core.isolation import OFFLINE
from fer_core.query.committed_tables import committed, models_table, runs_table
from fer_core.query.interruptible import interruptible
from fer_core.review.history import history
from fer_core.storage.store import Store

VIEWS: Final = ("labels", "images", "current", "runs", "reviews", "models")
ROWS_AT_ONCE: Final = 10_000
_READING: Final = ("SELECT", "EXPLAIN")
"""Kinds of statements that are run. DESCRIBE, SUMMARIZE, SHOW, FROM and WITH are SELECTs to DuckDB."""


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What DuckDB may use. Beyond the memory it spills to a temporary folder of its own."""

    memory: str = "1GB"
    threads: int = max(1, min(8, os.cpu_count() or 1))


LIMITS: Final = QueryLimits()


class QuerySession:
    """The views of one root, as it was when the session began."""

    def __init__(self, database: duckdb.DuckDBPyConnection, thread: Executor) -> None:
        """database: as `open_session` locks it. thread: that uses it."""
        self._database, self._thread = database, thread

    def run(self, sql: str) -> pa.RecordBatchReader:
        """The result of one query, computed as it is read. UsageError: no query, or several, or a statement that does not read.

        QueryError, also while it is read through `rows`: DuckDB refuses it.
        """
        with _one_line():
            statements = duckdb.extract_statements(sql)
            if len(statements) != 1:
                raise UsageError(f"one query is needed, not {len(statements)}")
            kind = statements[0].type.name
            if kind not in _READING:
                raise UsageError(f"only queries are run (SELECT, FROM, WITH, DESCRIBE, SUMMARIZE, SHOW, EXPLAIN), not {kind}")
            reader = interruptible(self._database, self._thread, lambda: self._database.sql(statements[0]).to_arrow_reader(ROWS_AT_ONCE))
        return pa.RecordBatchReader.from_batches(reader.schema, self._batches(reader))

    def columns(self) -> list[str]:
        """Names of all columns of all views."""
        with _one_line():
            found = self._database.sql("SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal ORDER BY 1").fetchall()
        return [name for (name,) in found]

    def _batches(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while (batch := interruptible(self._database, self._thread, lambda: next(reader, None))) is not None:
            yield batch


def rows(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches of a result. QueryError."""
    with _one_line():
        yield from reader


@contextmanager
def open_session(store: Store, limits: QueryLimits = LIMITS) -> Iterator[QuerySession]:
    """A session over a root. CommitError: no run is committed, or a manifest is damaged; ReviewError: reviews are."""
    manifests = committed_manifests(store)
    with TemporaryDirectory(prefix="ferflow-query-") as spilled:
        settings = {
            **OFFLINE,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,  # else names in SQL reach variables of this process
            "memory_limit": limits.memory,
            "threads": limits.threads,
            "temp_directory": spilled,
        }
        with duckdb.connect(config=settings) as database:
            for name in ("labels", "images"):
                database.register(name, committed(store, manifests, name))
            database.register("runs", runs_table(manifests))
            database.register("reviews", history(store))
            database.register("models", models_table(manifests))
            database.execute(f"CREATE VIEW current AS {CURRENT}")
            database.execute("SET TimeZone = 'UTC'")
            # the views stand on objects of this process, so they outlive the loss of files
            database.execute("SET enable_external_access = false")
            database.execute("SET lock_configuration = true")
            with ThreadPoolExecutor(1, "query") as thread:
                yield QuerySession(database, thread)


@contextmanager
def _one_line() -> Iterator[None]:
    """Errors of DuckDB and of parts that it reads become a QueryError."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise QueryError(" ".join(str(error).partition("\n\nLINE ")[0].split())[:500]) from error
