"""Where files may be written that are no part of a labels root: beside its tables, never in them.

Readers take every file below a table's prefix for a part of the table: a page there breaks pandas, Polars and `verify`.
"""

import os
from typing import Final

from fer_core.errors import StoreError, UsageError
from fer_core.storage.paths import META, RUNS, STAGING, TABLES
from fer_core.storage.store import Store, open_store

_OWN: Final = frozenset((*TABLES, META, STAGING))
_PARTITIONS: Final = ("run=", "run_date=")


def file_place(to: str) -> tuple[Store, str]:
    """Folder and name of a file to be written, from a path or `s3://bucket/key`. UsageError where that names no file."""
    place = open_store(to)
    folder, _, name = place.root.rpartition("/")
    if not name or to.endswith("/") or not (folder or place.local):
        raise UsageError(f"the result needs a file name: {to!r}")
    return Store(place.fs, folder or "/"), name


def refuse_in_tables(target: str) -> None:
    """UsageError where a file or folder to be written would be in the tables or in the records of a labels root, also through links."""
    place = open_store(target)
    path = os.path.realpath(place.root) if place.local else place.root
    names = path.split("/")
    for end in range(1, len(names)):
        above = "/".join(names[:end])
        if names[end] in _OWN and above.strip("/") and _is_root(Store(place.fs, above)):
            raise UsageError(
                f"{place.url()} would lie in {names[end]}/ of the labels root {Store(place.fs, above).url()}: choose a place outside of it"
            )


def refuse_inside(target: Store, root: Store, what: str) -> None:
    """UsageError where a target lies anywhere in one labels root, or in the tables of another. what: the target, as the error names it."""
    inside, where = (os.path.realpath(place.root) if place.local else place.root for place in (target, root))
    if type(root.fs) is type(target.fs) and f"{inside}/".startswith(f"{where.rstrip('/')}/"):
        raise UsageError(f"{what} inside the labels root {root.url()}: choose a place outside of it")
    refuse_in_tables(target.url())


def partition_above(root: Store) -> str | None:
    """The first folder of a labels root's path, or of those above, that readers take for a partition: `run=...` or `run_date=...`."""
    return next((name for name in root.root.split("/") if name.startswith(_PARTITIONS)), None)


def _is_root(store: Store) -> bool:
    if store.local:
        return os.path.isdir(os.path.join(store.root, RUNS))
    try:
        return next(iter(store.without_retries().list_files(RUNS)), None) is not None
    except StoreError:  # credentials for the target alone are enough; its use reports what is wrong with the store itself
        return False
