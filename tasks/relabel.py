"""Tasks of the flow `relabel`: plan from the kept crops, label them on Dask workers, report what changed."""

from dataclasses import replace
from typing import Final

import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from fer_core.commit.lease import Lease
from fer_core.commit.manifest import Manifest
from fer_core.commit.plan import Plan, write_plan
from fer_core.planning.draft import shard_size_for
from fer_core.relabel.changes import changes_of
from fer_core.relabel.configuration import RelabelOptions, relabel_config
from fer_core.relabel.survey import survey
from fer_core.storage.store import open_store
from tasks.artifacts.publication import publish
from tasks.artifacts.relabel import RelabelSummary, headline, markdown
from tasks.clusters.base import ClusterBackend
from tasks.execution.relabel_entrypoint import relabel_job
from tasks.label import ShardResults, run_shards
from tasks.plan import open_root
from tasks.task_log import log_found

FACES_A_SHARD: Final = 4_000
"""On average. A worker holds the crops of a shard, 20 KB each."""


@task(name="plan-relabel", cache_policy=NO_CACHE, persist_result=False)
def plan_relabel(root: str, wanted: RelabelOptions, workers: int, held: Lease) -> Plan:
    """Write the plan of the run. CommitError when its id is taken, or when no crops were kept.

    Interrupted commits of earlier runs are finished first.
    """
    store = open_root(root, held)
    found = survey(store, wanted.answering)
    size = wanted.shard_size or min(shard_size_for(found.images.num_rows, workers), found.images_with(FACES_A_SHARD))
    config = relabel_config(store, found, replace(wanted, shard_size=size))
    count = found.images.num_rows
    plan = write_plan(store, Plan(config, found.plan(size), listed=count + found.unchanged, unchanged=found.unchanged, deleted=0))
    shards = pc.count_distinct(plan.images["shard"]).as_py()
    log_found(f"planned run {config.run_id}: {count:,} images with kept crops in {shards:,} shards, {found.unchanged:,} unchanged")
    return plan


@task(name="relabel-shards", cache_policy=NO_CACHE, persist_result=False)
def relabel_shards(plan: Plan, cluster: ClusterBackend) -> ShardResults:
    """Label the crops of the shards that are not staged yet."""
    return run_shards(plan, cluster, work=relabel_job)


@task(name="report-relabel", cache_policy=NO_CACHE, persist_result=False)
def report_relabel(manifest: Manifest, labelled: ShardResults) -> RelabelSummary:
    """The changes, as a Prefect artifact and as a value."""
    run = labelled.summary(manifest)
    summary = RelabelSummary(run, changes_of(open_store(manifest.run_config().root), manifest))
    publish("relabel-summary", markdown(summary), f"{manifest.run_id}: {headline(summary.changes)}")
    log_found(headline(summary.changes))
    return summary
