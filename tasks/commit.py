"""Task `commit`: receipts -> published parts and the manifest."""

from contextlib import suppress

from prefect import task
from prefect.cache_policies import NO_CACHE

from fer_core.commit.lease import Lease
from fer_core.commit.manifest import Manifest
from fer_core.commit.publish import publish
from fer_core.commit.recovery import collect_abandoned
from fer_core.errors import StoreError
from fer_core.run import RunConfig
from fer_core.storage.store import open_store
from tasks.execution.signals import stop_if_asked
from tasks.label import Labelled


@task(name="commit", cache_policy=NO_CACHE, persist_result=False)
def commit_run(config: RunConfig, labelled: Labelled, held: Lease) -> Manifest:
    """Make the run visible and final, then collect what interrupted runs left long ago. LeaseError when somebody else writes by now."""
    stop_if_asked()
    held.check_now()
    store = open_store(config.root)
    manifest = publish(store, config, labelled.receipts, still_ours=held.check)
    with suppress(StoreError):  # the run is committed; what cannot be removed now is left to the next night
        collect_abandoned(store)
    return manifest
