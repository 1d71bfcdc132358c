"""Task `report`: what became of the images, for people."""

import time

from prefect import task
from prefect.cache_policies import NO_CACHE

from fer_core.layout import manifest_file
from fer_core.manifest import Manifest
from fer_core.store import open_store
from tasks.artifact import publish
from tasks.label_shards import Labelled
from tasks.summary import Summary, markdown, share


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def report_run(manifest: Manifest, labelled: Labelled) -> Summary:
    """A summary artifact in the orchestrator, and the same as a value."""
    committed = time.time()
    where = open_store(manifest.run_config().root).url(manifest_file(manifest.run_id))
    summary = Summary(manifest, where, labelled.resumed, labelled.ready_at, committed)
    publish("label-summary", markdown(summary), f"{manifest.run_id}: {share(manifest)}")
    return summary
