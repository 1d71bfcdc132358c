"""Two nights over one folder of pictures: what a run is killed in, and what must be there in the end. Stand-ins look at the pictures.

The first night is committed. Then a picture goes, one is touched, one is drawn anew and two come; the second night is the one that is
killed. It reads four pictures in four shards: one of them is broken, one keeps the labels that it has.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fer_core.commit.lease import lease, live_claims
from fer_core.commit.plan import Plan
from fer_core.commit.publish import committed_runs, is_committed, read_manifest, staged_receipts, unfinished_shards
from fer_core.commit.verify import verify
from fer_core.pipeline.shard import label_shard
from fer_core.pipeline.shard_jobs import jobs
from fer_core.run.receipts import ShardReceipt
from fer_core.storage.paths import LEASES, STAGING, TABLES
from fer_core.storage.store import Store, open_store
from flows.label_params import LabelParams
from tasks.clusters.address import AddressCluster
from tasks.execution.fan_out import fan_out
from tests.support.fakes import picture, tools, write_pictures

PASSING = ("labeled_at", "seen_at", "run_date", "run")
"""Columns that tell when a row was made."""
SHARDS = 4
"""Of the second night. Two become one file, see `small_parts`: so many are the parts of both tables."""
LISTED = 5
"""Pictures that the second night finds, one of them unchanged."""
FIRST, SECOND = "first", "night"

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Nights:
    """Pictures, a root after the first night, and the rows that the second leads to."""

    source: Path
    base: Path
    """The root after the first night. It and `whole` are copied, never written to."""
    whole: Path
    """The root after the second night, undisturbed."""
    expected: Rows
    counts: dict[str, int]
    """Images by status of the second night."""

    def params(self, root: str, **which: str) -> LabelParams:
        """which: `run_id` or `resume`, and `cluster`."""
        return LabelParams(source=str(self.source), to=root, detector="builtin", shard_size=1, **which)

    def words(self, root: str, *which: object) -> list[str]:
        """The same on the command line."""
        given = ("label", self.source, "--to", root, "--detector", "builtin", "--shard-size", 1, *which)
        return [*map(str, given), "--json"]

    def begin(self, root: str) -> Store:
        """A root of its own, as the first night left it. root: absent or empty."""
        store = open_store(root)
        for file in (path for path in self.base.rglob("*") if path.is_file()):
            store.write_bytes(str(file.relative_to(self.base)), file.read_bytes())
        return store


def prepare(folder: Path, night: Callable[[LabelParams], None]) -> Nights:
    """Draw the pictures, label the first night, change the folder, label the second night undisturbed. night: `label`, in some process."""
    source, base, whole = folder / "photos", folder / "base", folder / "whole"
    write_pictures(source, [1, 2, 1, 2])
    nights = Nights(source, base, whole, {}, {})
    night(nights.params(str(base), run_id=FIRST).model_copy(update={"shard_size": 2}))
    (source / "image-000.png").unlink()
    os.utime(source / "image-001.png", (1_700_000_000, 1_700_000_000))
    (source / "image-002.png").write_bytes(picture(1, seed=102))
    (source / "image-004.png").write_bytes(picture(2, seed=4))
    (source / "image-005.png").write_bytes(b"no picture")
    shutil.copytree(base, whole)
    night(nights.params(str(whole), run_id=SECOND))
    store = open_store(str(whole))
    manifest = read_manifest(store, SECOND)
    assert (manifest.listed, manifest.unchanged, manifest.deleted, manifest.reused) == (LISTED, 1, 1, 1)
    return Nights(source, base, whole, rows(store), manifest.statuses)


def label(params: LabelParams, scheduler: str | None = None) -> None:
    """The flow's sentence with its own tasks, but no orchestrator has to be started.

    scheduler: of the Dask cluster whose workers label the shards; None: this process does.
    """
    from prefect.logging import disable_run_logger

    from flows.label_summary import committed_summary
    from flows.setup.label import configure, load_resumable_plan
    from tasks.commit import commit_run
    from tasks.inventory import list_inventory
    from tasks.label import ShardResults
    from tasks.plan import plan_run

    store = open_store(params.to)
    if params.resume is not None and is_committed(store, params.resume):
        load_resumable_plan(params)
        committed_summary(params.to, params.resume)
        return
    with lease(store, f"run {params.resume or params.run_id}") as held, disable_run_logger():
        if params.resume is None:
            plan = plan_run.fn(configure(params), list_inventory.fn(params.source, params.source_options), 1, params.force, held)
        else:
            plan = load_resumable_plan(params)
        commit_run.fn(plan.config, ShardResults(_receipts(plan, scheduler), 0, 0.0), held)


def housekeeping(root: str) -> None:
    """The flow's task that changes a root."""
    from prefect.logging import disable_run_logger

    from tasks.housekeeping import collect

    with lease(open_store(root), "housekeeping") as held, disable_run_logger():
        collect.fn(root, 14, held)


def _receipts(plan: Plan, scheduler: str | None) -> tuple[ShardReceipt, ...]:
    """What task `label-shards` does, without its progress bar in the orchestrator."""
    done = staged_receipts(open_store(plan.config.root), plan.config.run_id)
    todo = jobs(plan.config, plan.images, unfinished_shards(plan, done))
    if scheduler is None:
        new = [label_shard(job, tools()) for job in todo]
    else:
        with AddressCluster(address=scheduler).open_client() as client:
            new = fan_out(client, todo, lambda receipt: None)
    return (*done.values(), *new)


def rows(store: Store) -> Rows:
    """What a reader finds under each table's prefix, committed or not, in order, without what only tells when it was made."""
    found = {}
    for table in TABLES:
        parts = [pq.read_table(pa.BufferReader(store.read_bytes(path))) for path in store.list_files(table)]
        whole = [row for part in parts for row in part.to_pylist()]
        kept = ({name: value for name, value in row.items() if name not in PASSING} for row in whole)
        found[table] = sorted(kept, key=lambda row: (row["run_id"], row["image_uri"], row.get("face_index", 0)))
    return found


def problems(nights: Nights, store: Store, *, same_runs: bool, abandoned: frozenset[str] = frozenset()) -> list[str]:
    """What is not as after an undisturbed second night, in one line each.

    same_runs: whether each row must also bear the name of the run that it bears there. abandoned: runs that may have left staging, because
    they were neither committed nor resumed.
    """
    found = [f"the rows of {table} differ" for table in TABLES if _without_run(rows(store), table) != _without_run(nights.expected, table)]
    if same_runs and rows(store) != nights.expected:
        found.append("rows bear another run's name")
    report = verify(store)
    found += report.problems
    found += [note for note in report.notes if not any(f"run {name} " in f"{note} " for name in abandoned)]
    left = {path.split("/")[1] for path in store.list_files(STAGING)}
    found += [f"staging of {name} is left" for name in sorted(left - abandoned)]
    found += [f"{claim.work} holds a lease" for claim in live_claims(store)]
    return found + _miscounted(nights, store)


def _without_run(found: Rows, table: str) -> list[dict[str, Any]]:
    kept = [{name: value for name, value in row.items() if name != "run_id"} for row in found[table]]
    return sorted(kept, key=lambda row: (row["image_uri"], row.get("face_index", 0), str(row)))


def _miscounted(nights: Nights, store: Store) -> list[str]:
    """The second night's runs together count what it counts undisturbed."""
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store) if run_id != FIRST]
    counts = {status: sum(manifest.statuses[status] for manifest in manifests) for status in nights.counts}
    found = [] if counts == nights.counts else [f"images by status are {counts}, not {nights.counts}"]
    for manifest in manifests:
        if (manifest.listed, manifest.deleted) != (LISTED, 1) or sum(manifest.statuses.values()) != LISTED - manifest.unchanged:
            counted = f"{manifest.listed} listed, {manifest.unchanged} unchanged, {manifest.deleted} deleted"
            found.append(f"run {manifest.run_id} counts {counted}")
    return found


def phase(store: Store, run_id: str) -> str:
    """How far a killed run has come, told from what lies in the root."""
    files = store.list_files()
    staged = [path for path in files if path.startswith(f"{STAGING}/{run_id}/")]
    parts = [path for path in files if path.startswith(TABLES) and f"/run={run_id}/" in path]
    receipts = sum("/receipts/" in path for path in staged)
    if f"_meta/runs/{run_id}/manifest.json" in files:
        return "committed, staging is left" if staged else "committed"
    if parts:
        return f"{len(parts)} of {SHARDS} parts published"
    coalesced = sum("/coalesced/" in path for path in staged)
    if coalesced:
        return f"{2 * coalesced} of {SHARDS} parts coalesced"
    if receipts or staged:
        return f"{receipts} of {SHARDS} shards staged"
    if f"_meta/runs/{run_id}/plan.parquet" in files:
        return "planned"
    return "leased" if any(path.startswith(LEASES) for path in files) else "starting"
