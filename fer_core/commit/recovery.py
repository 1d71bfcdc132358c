"""Recovery from interrupted runs: finish interrupted commits, and remove old staging folders.

The caller holds the root's lease. No other run is then active, and every unfinished file belongs to a run that has ended.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from fer_core.commit.lease import live_claims
from fer_core.commit.plan import read_plan
from fer_core.commit.publish import is_committed, publish, set_aside, staged_receipts
from fer_core.errors import CommitError
from fer_core.storage.paths import COMPACTION, LEASES, META, RUNS, STAGING, TABLES, is_run_id, run_folder, staging_folder
from fer_core.storage.store import Store

KEEP: Final = timedelta(days=14)
"""How long the finished shards of an interrupted run are kept for a resume."""
_LITTER_FOR: Final = timedelta(days=1)


def finish_interrupted_commits(store: Store, assert_lease: Callable[[], None] = lambda: None) -> list[str]:
    """Finish each commit that was interrupted between its first part and its manifest. Returns the ids of the runs that this commits.

    A commit starts after every shard is finished, so all receipts should exist. If some were lost, the published parts are moved back into
    staging: without a manifest they are not results, and the next run processes their images.
    """
    finished = []
    for run_id in _half_published(store):
        config = read_plan(store, run_id).config
        try:
            publish(store, config, staged_receipts(store, run_id).values(), assert_lease=assert_lease)
            finished.append(run_id)
        except CommitError:
            for table in TABLES:
                set_aside(store, run_id, store.list_files(run_folder(config, table)), assert_lease)
    return finished


def gc_staging(store: Store, keep: timedelta = KEEP) -> list[str]:
    """Remove the staging folders of runs that have not written for `keep`, and of committed runs. Active runs are skipped. Returns the ids.

    Ages use the storage's clock. Idempotent: a second call removes the rest after an interruption. A run without staging can still be
    resumed; it processes its shards again. Fences, and unfinished files of killed writers, are removed after a day.
    """
    now = store.newest(LEASES)  # the holder renews its lease every few seconds
    if now is None:
        return []
    at_work = {claim.work for claim in live_claims(store)}
    staged = sorted({path.split("/")[1] for path in (*store.list_files(STAGING), *store.list_unfinished(STAGING))})
    ended = [name for name in staged if is_run_id(name) and f"run {name}" not in at_work]
    old = [name for name in ended if is_committed(store, name) or _age(store, staging_folder(name), now) > keep]
    for run_id in old:
        store.remove_tree(staging_folder(run_id))
    store.remove_tree(COMPACTION)
    fences = (path for path in store.list_files(LEASES) if path.endswith(".fenced"))
    for path in (*fences, *store.list_unfinished(META)):
        if _age(store, path, now) > _LITTER_FOR:
            store.remove_file(path)
    return old


def discard(store: Store, run_id: str, assert_lease: Callable[[], None] = lambda: None) -> int:
    """Remove all files of an uncommitted run: staged parts with their crops, published parts, its plan. Returns the number of files.
    CommitError, in one line, for a run that is committed or unknown.

    The caller holds the root's lease. The plan is removed last: after an interruption the run is still known, and a second call works.
    """
    if is_run_id(run_id) and is_committed(store, run_id):
        raise CommitError(f"run {run_id} is committed: what it labelled is not discarded")
    left = _left_by(store, run_id) if is_run_id(run_id) else []
    if not left:
        raise CommitError(f"run {run_id} is unknown in {store.url()}")

    def remove(path: str) -> None:
        assert_lease()
        store.remove_file(path)

    for table in reversed(TABLES):  # images first: the remaining rows then refer only to rows that exist
        store.for_each(remove, [path for path in left if path.startswith(f"{table}/")])
    assert_lease()
    store.remove_tree(staging_folder(run_id))
    store.remove_tree(f"{RUNS}/{run_id}")
    return len(left)


def _left_by(store: Store, run_id: str) -> list[str]:
    """All files of a run without a manifest."""
    folders = (staging_folder(run_id), f"{RUNS}/{run_id}")
    own = [path for folder in folders for path in (*store.list_files(folder), *store.list_unfinished(folder))]
    visible = [path for table in TABLES for path in store.list_files(table) if path.split("/")[2:3] == [f"run={run_id}"]]
    return own + visible


def _age(store: Store, folder: str, now: float) -> timedelta:
    return timedelta(seconds=now - (store.newest(folder) or now))


def _half_published(store: Store) -> list[str]:
    """Ids of the runs that have a plan and published parts but no manifest."""
    known: dict[str, set[str]] = {"plan.parquet": set(), "manifest.json": set()}
    for path in store.list_files(RUNS):
        run_id, _, name = path.removeprefix(f"{RUNS}/").partition("/")
        known.get(name, set()).add(run_id)
    begun = {run_id for run_id in known["plan.parquet"] - known["manifest.json"] if is_run_id(run_id)}
    if not begun:
        return []
    folders = (path.split("/") for table in TABLES for path in store.list_files(table))
    return sorted(begun & {parts[2].removeprefix("run=") for parts in folders if len(parts) == 4})
