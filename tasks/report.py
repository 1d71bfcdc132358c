"""Task `report`: a summary of the run for people."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from fer_core.commit.manifest import Manifest
from tasks.artifacts.label import Summary, markdown, share
from tasks.artifacts.publication import publish
from tasks.label import ShardResults
from tasks.task_log import log_found


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def report_run(manifest: Manifest, labelled: ShardResults) -> Summary:
    """The summary, as a Prefect artifact and as a value."""
    summary = labelled.summary(manifest)
    publish("label-summary", markdown(summary), f"{manifest.run_id}: {share(manifest)}")
    log_found(share(manifest))
    return summary
