"""Task `plan`: selects the new images, cuts them into shards and writes the plan before anything is read."""

import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from fer_core.collection.inventory import Collection
from fer_core.commit.lease import Lease
from fer_core.commit.plan import Plan, write_plan
from fer_core.commit.recovery import finish_interrupted_commits
from fer_core.planning.draft import draft
from fer_core.run.configuration import RunConfig
from fer_core.storage.store import Store, open_store
from tasks.execution.progress import stage
from tasks.execution.signals import raise_if_stop_requested
from tasks.task_log import log_found


@task(name="plan", cache_policy=NO_CACHE, persist_result=False)
def plan_run(config: RunConfig, inventory: Collection, workers: int, force: bool, held: Lease) -> Plan:
    """Write the plan of the run. CommitError when its id is taken.

    Interrupted commits of earlier runs are finished first, so that their images count as processed.
    """
    store = open_root(config.root, held)
    plan = write_plan(store, draft(store, config, inventory, workers=workers, force=force))
    log_found(planned(plan))
    return plan


def open_root(root: str, held: Lease) -> Store:
    """A labels root for a new run, after the commits that earlier runs were killed in are finished. For the body of a task."""
    raise_if_stop_requested()
    stage("planning")
    store = open_store(root)
    for run_id in finish_interrupted_commits(store, held.check):
        get_run_logger().info("finished the commit in which run %s was interrupted", run_id)
    return store


def planned(plan: Plan) -> str:
    """`planned run first: 120 listed, 100 unchanged, 20 new in 3 shards, 0 deleted, 0 folders excluded`."""
    shards = pc.count_distinct(plan.images["shard"]).as_py()
    denied = "".join(f", {count:,} {why}" for why, count in (("denied", plan.denied), ("expired", plan.expired)) if count)
    counts = f"{plan.listed:,} listed, {plan.unchanged:,} unchanged, {plan.images.num_rows:,} new in {shards:,} shards"
    ignored = f", {sum(plan.ignored.values()):,} files ignored" if plan.ignored else ""
    return f"planned run {plan.config.run_id}: {counts}, {plan.deleted:,} deleted, {plan.excluded:,} folders excluded{denied}{ignored}"
