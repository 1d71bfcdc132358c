"""Many small parts of a run become few, while others read the tables.

A reader that globs a table lists files first and opens them later. So no two files that hold the same row may ever be listed together, no
row may be missing from a listing, and no file that was listed may be gone when it is opened. The first two are kept for certain: the run's
folder in a table changes places with one that holds the same rows in few parts, in one step of the filesystem, and no name is used again.
The third cannot be kept by any filesystem for a reader who waits for ever; it is kept by exchanging only at a moment in which no reader of
this machine is between listing and opening (`reading`). Where there is no such moment the old parts stay.

Steps, under the root's lease: the new folders are written in staging; the manifest names the new parts beside the old (`compacting`); each
table's folder is exchanged; the manifest promises the new parts and remembers the old (`replaced`); the old folders go. Whoever reads a
manifest in between finds out which of a table's parts are there (`commit.read_manifest`); cut off anywhere, the next compaction goes on.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import pyarrow as pa

from fer_core.commit import committed_runs, read_manifest
from fer_core.errors import CommitError, StoreError
from fer_core.layout import TABLES, compaction_folder, manifest_file, run_folder
from fer_core.manifest import Manifest, Part
from fer_core.part_table import part_rows
from fer_core.reading import Watch
from fer_core.schema import FACES, IMAGES, LABELS
from fer_core.store import Store
from fer_core.table import merged, part_metadata, write_part

_SCHEMAS: Final = {"labels": LABELS, "images": IMAGES, "faces": FACES}
LARGEST_PART: Final = 128 * 2**20
"""Bytes of the parts of one table that become one."""
WAIT_SECONDS: Final = 30.0
"""How long after it listed a table a reader may still open what it found."""
PATIENCE_SECONDS: Final = 90.0
"""How much longer an idle moment is waited for."""


@dataclass(frozen=True, slots=True)
class Compacted:
    """What came of it."""

    runs: int
    """Runs whose parts became fewer."""
    parts_before: int
    """Of these runs."""
    parts_after: int
    busy: tuple[str, ...]
    """Runs that keep their old parts in a table, because it was being read all the time."""


def compact(
    store: Store, before: str | None = None, wait: float = WAIT_SECONDS, still_ours: Callable[[], None] = lambda: None
) -> Compacted:
    """Merge the parts of each committed run planned before a day (YYYY-MM-DD; None: all). For the holder of the root's lease.

    still_ours: see `commit.publish`. StoreError where folders cannot be exchanged in one step, CommitError when a part is missing or
    damaged.
    """
    why_not = store.why_no_exchange()
    if why_not:
        raise StoreError(f"cannot compact {store.url()}: {why_not}; `ferflow export current` writes a compact copy")
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    chosen = [manifest for manifest in manifests if before is None or manifest.run_date < before]
    begun = [manifest for manifest in (_begin(store, manifest, still_ours) for manifest in chosen) if manifest is not None]
    for table in TABLES:
        _exchange_all(store, table, [manifest for manifest in begun if _new(manifest, table)], wait, still_ours)
    ended = [_end(store, manifest, still_ours) for manifest in begun]
    busy = tuple(manifest.run_id for manifest in ended if manifest.compacting)
    return Compacted(len(ended) - len(busy), sum(len(one.parts) for one in begun), sum(len(one.parts) for one in ended), busy)


def _begin(store: Store, manifest: Manifest, still_ours: Callable[[], None]) -> Manifest | None:
    """Write the new folders and then the manifest that names both. None where nothing can become less."""
    if manifest.compacting and all(store.exists(_staged(manifest, part)) for part in manifest.compacting):
        return manifest  # a compaction that was cut off, or found no moment
    store.remove_tree(compaction_folder(manifest.run_id))
    groups = list(_groups(manifest))
    if len(groups) == len({_name(part) for part in manifest.parts}):
        if manifest.compacting:
            store.write_bytes(manifest_file(manifest.run_id), replace(manifest, compacting=()).to_bytes())
        return None
    token = hashlib.sha256("".join(part.sha256 for part in manifest.parts).encode()).hexdigest()[:8]
    new = []
    for number, names in enumerate(groups):
        for table in TABLES:
            parts = [part for part in manifest.parts_of(table) if _name(part) in names]
            if parts:
                still_ours()
                new.append(_merge(store, manifest, table, parts, f"part-c{token}-{number:05d}.parquet"))
    begun = replace(manifest, compacting=tuple(new))
    still_ours()
    store.write_bytes(manifest_file(manifest.run_id), begun.to_bytes())
    return begun


def _groups(manifest: Manifest) -> Iterator[frozenset[str]]:
    """Names of parts that become one, the same in every table: what belongs together keeps one name."""
    sizes: dict[str, dict[str, int]] = {}
    for part in manifest.parts:
        sizes.setdefault(_name(part), dict.fromkeys(TABLES, 0))[part.table] = part.bytes
    group: list[str] = []
    for name in sorted(sizes, key=lambda name: (len(name.removesuffix(".parquet").split("-")[1]), name)):
        total = max(sum(sizes[each][table] for each in [*group, name]) for table in TABLES)
        if group and total > LARGEST_PART:
            yield frozenset(group)
            group = []
        group.append(name)
    if group:
        yield frozenset(group)


def _merge(store: Store, manifest: Manifest, table: str, parts: Sequence[Part], name: str) -> Part:
    """One new part in staging, as it will be promised."""
    data = write_part(merged([_read(store, manifest, part) for part in parts]), part_metadata(manifest.run_config()))
    path = f"{run_folder(manifest.run_config(), table)}/{name}"
    new = Part(table, path, sum(part.rows for part in parts), len(data), hashlib.sha256(data).hexdigest())
    store.write_bytes(_staged(manifest, new), data)
    return new


def _read(store: Store, manifest: Manifest, part: Part) -> pa.Table:
    """The rows of a part that is what was promised."""
    if not store.exists(part.path):
        raise CommitError(f"a part of the committed run {manifest.run_id} is missing: {part.path}")
    data = store.read_bytes(part.path)
    if len(data) != part.bytes or hashlib.sha256(data).hexdigest() != part.sha256:
        raise CommitError(f"a part of the committed run {manifest.run_id} is damaged: {part.path}")
    return part_rows(data, part.path, _SCHEMAS[part.table], f"the committed run {manifest.run_id}")


def _exchange_all(store: Store, table: str, manifests: Sequence[Manifest], wait: float, still_ours: Callable[[], None]) -> None:
    """Exchange the runs' folders in one table, as many as there are idle moments for."""
    waiting = list(manifests)
    while waiting:
        folders = {store.url(run_folder(manifest.run_config(), table)): manifest for manifest in waiting}
        still_ours()
        with _watching(store, table, folders, wait) as watch:
            if not watch.idle(wait + PATIENCE_SECONDS):
                return
            waiting = _exchange_some(store, table, folders, watch)


def _exchange_some(store: Store, table: str, folders: dict[str, Manifest], watch: Watch) -> list[Manifest]:
    """Exchange folder after folder until somebody lists one. Returns those that are left.

    Who lists an old folder in the very moment before it goes has the old names and has not come to open them yet: then it comes back,
    unless its successor has been listed as well, since many readers list twice, first for folders and then for files.
    """
    pairs = {
        folder: (run_folder(manifest.run_config(), table), compaction_folder(manifest.run_id, table))
        for folder, manifest in folders.items()
    }
    done: list[str] = []
    for folder, pair in pairs.items():
        if not watch.step(store.exchanging(*pair), partial(_harmless, folder, store.url(pair[1]))):
            break
        done.append(folder)
    if done:
        store.sync_folders(*{path.rpartition("/")[0] for folder in done for path in pairs[folder]})
    return [manifest for folder, manifest in folders.items() if folder not in done]


def _harmless(old: str, new: str, listed: set[str]) -> bool:
    """Whether nobody has only the old names."""
    return old not in listed or new in listed


def _watching(store: Store, table: str, folders: dict[str, Manifest], wait: float) -> Watch:
    """All runs' folders of the table are watched: whoever has a part of any run open is in the middle of a question."""
    all_folders = {store.url(path.rpartition("/")[0]) for path in store.list_files(table)} | folders.keys()
    successors = [store.url(compaction_folder(manifest.run_id, table)) for manifest in folders.values()]
    try:
        return Watch(sorted(all_folders), wait, successors)
    except OSError as error:
        raise StoreError(f"cannot watch who reads {store.url(table)}: {error.strerror}") from error


def _end(store: Store, manifest: Manifest, still_ours: Callable[[], None]) -> Manifest:
    """Promise what is in place now. The old folders go once each table has its new one."""
    ended = read_manifest(store, manifest.run_id)
    still_ours()
    store.write_bytes(manifest_file(manifest.run_id), ended.to_bytes())
    if not ended.compacting:
        store.remove_tree(compaction_folder(manifest.run_id))
    return ended


def _new(manifest: Manifest, table: str) -> list[Part]:
    return [part for part in manifest.compacting if part.table == table]


def _staged(manifest: Manifest, part: Part) -> str:
    return f"{compaction_folder(manifest.run_id, part.table)}/{_name(part)}"


def _name(part: Part) -> str:
    return part.path.rpartition("/")[2]
