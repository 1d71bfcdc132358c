"""Task `commit`: receipts -> published parts and the manifest."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from fer_core.commit import publish
from fer_core.lease import Lease
from fer_core.manifest import Manifest
from fer_core.run import RunConfig
from fer_core.store import open_store
from tasks.interruption import stop_if_asked
from tasks.label_shards import Labelled


@task(name="commit", cache_policy=NO_CACHE, persist_result=False)
def commit_run(config: RunConfig, labelled: Labelled, held: Lease) -> Manifest:
    """Make the run visible and final. LeaseError when somebody else writes to the root by now."""
    stop_if_asked()
    held.check_now()
    return publish(open_store(config.root), config, labelled.receipts, still_ours=held.check)
