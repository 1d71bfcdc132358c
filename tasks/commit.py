"""Task `commit`: publishes the parts of the receipts and writes the manifest."""

from contextlib import suppress

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from fer_core.commit.lease import Lease
from fer_core.commit.manifest import Manifest
from fer_core.commit.publish import publish
from fer_core.commit.recovery import gc_staging
from fer_core.errors import FerflowError, StoreError
from fer_core.run.configuration import RunConfig
from fer_core.storage.paths import TABLES
from fer_core.storage.store import open_store
from tasks.execution.progress import stage
from tasks.execution.signals import raise_if_stop_requested
from tasks.label import ShardResults
from tasks.retention import enforce_ages
from tasks.task_log import log_found


@task(name="commit", cache_policy=NO_CACHE, persist_result=False)
def commit_run(config: RunConfig, labelled: ShardResults, held: Lease) -> Manifest:
    """Make the run visible and final, then remove old staging of interrupted runs, and what the policy of the root keeps no longer.
    LeaseError when another process holds the root."""
    raise_if_stop_requested()
    held.check_now()
    stage("committing")
    store = open_store(config.root)
    manifest = publish(store, config, labelled.receipts, assert_lease=held.check)
    log_found(committed(manifest))
    with suppress(StoreError):  # the run is committed; the next run removes what is left now
        gc_staging(store)
    try:
        enforce_ages(store, held)
    except FerflowError as error:  # housekeeping fails with it
        get_run_logger().warning("what is past its age was not removed: %s", error)
    return manifest


def committed(manifest: Manifest) -> str:
    """`committed run first: 20 rows in images, 31 rows in labels; 2 files, 0.1 MB`."""
    tables = [name for name in TABLES if manifest.parts_of(name)]
    rows = ", ".join(f"{sum(part.rows for part in manifest.parts_of(name)):,} rows in {name}" for name in sorted(tables))
    size = sum(part.bytes for part in manifest.parts) / 1e6
    return f"committed run {manifest.run_id}: {rows or 'no rows'}; {len(manifest.parts):,} files, {size:,.1f} MB"
