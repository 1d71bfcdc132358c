"""Queries of DuckDB that a Ctrl-C ends at once, with a KeyboardInterrupt."""

from collections.abc import Callable
from concurrent.futures import Executor, wait
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
RETRY_SECONDS: Final = 0.1
"""An interrupt is lost that comes before DuckDB has begun."""


def interruptible(database: "DuckDBPyConnection", thread: Executor, work: Callable[[], T]) -> T:
    """What DuckDB computes for minutes, in another thread: there, Python handles no signal meanwhile. An interrupt here ends it."""
    future = thread.submit(work)
    try:
        return future.result()
    except BaseException:
        while not future.done():
            database.interrupt()
            wait([future], timeout=RETRY_SECONDS)
        raise
