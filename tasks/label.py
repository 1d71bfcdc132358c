"""Task `label-shards`: the images, shard by shard, on Dask workers."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE

from fer_core.commit.manifest import Manifest
from fer_core.commit.plan import Plan
from fer_core.commit.publish import staged_receipts, unfinished_shards
from fer_core.pipeline.shard_jobs import jobs
from fer_core.run.receipts import ShardReceipt
from fer_core.storage.paths import manifest_file
from fer_core.storage.store import open_store
from tasks.artifacts.label import Summary
from tasks.clusters.base import ClusterBackend
from tasks.execution.fan_out import fan_out
from tasks.execution.image_timeout import IMAGE_SECONDS
from tasks.execution.progress import Progress, Tenths, report_progress, stage
from tasks.execution.worker_entrypoint import label_job
from tasks.task_log import log_found

ARTIFACT_SECONDS: Final = 5.0
"""A call to the orchestrator costs tens of milliseconds."""


@dataclass(frozen=True, slots=True)
class ShardResults:
    """All shards of a run."""

    receipts: tuple[ShardReceipt, ...]
    resumed: int
    """Images that an earlier attempt had finished."""
    ready_at: float
    """Seconds since the epoch: when workers were connected and the first shard could start."""

    def summary(self, manifest: Manifest) -> Summary:
        """Of the run that was committed just now. manifest: the run's."""
        where = open_store(manifest.run_config().root).url(manifest_file(manifest.run_id))
        return Summary(manifest, where, self.resumed, self.ready_at, time.time())


@task(name="label-shards", cache_policy=NO_CACHE, persist_result=False)
def label_shards(plan: Plan, cluster: ClusterBackend, image_timeout: float = IMAGE_SECONDS) -> ShardResults:
    """Label the shards that are not staged yet. Where none is left, no worker is started. image_timeout: seconds, see `image_timeout`."""
    return run_shards(plan, cluster, image_timeout)


def run_shards(
    plan: Plan, cluster: ClusterBackend, image_timeout: float = IMAGE_SECONDS, work: Callable[[str], str] = label_job
) -> ShardResults:
    """Run the shards that are not staged yet on workers. work: see `fan_out`. For the body of a task.

    Logs the start and progress at least every tenth of the images.
    """
    finished = staged_receipts(open_store(plan.config.root), plan.config.run_id)
    todo = unfinished_shards(plan, finished)
    kept = [receipt for part, receipt in finished.items() if part.number not in set(todo)]
    progress = Progress(total=plan.images.num_rows)
    for receipt in kept:
        progress.add(receipt, resumed=True)
    log_found(f"to label: {progress.total - progress.resumed:,} images in {len(todo):,} shards, {progress.resumed:,} are staged already")
    if not todo:
        return ShardResults(tuple(kept), progress.resumed, time.time())
    tenths, log = Tenths(), get_run_logger()
    tenths.passed(progress.images, progress.total)
    stage("waiting for workers")
    with cluster.open_client() as client:
        ready_at = time.time()
        shown = _ProgressArtifact(plan.config.run_id)

        def on_receipt(receipt: ShardReceipt) -> None:
            progress.add(receipt)
            report_progress(progress)
            shown.update(progress)
            if tenths.passed(progress.images, progress.total):
                log.info("%s", progress.line())

        report_progress(progress)
        done = fan_out(client, jobs(plan.config, plan.images, todo), on_receipt, work=work, limit=image_timeout, resources=cluster.needs())
    shown.finish()
    return ShardResults((*kept, *done), progress.resumed, ready_at)


class _ProgressArtifact:
    """The progress bar in the Prefect UI."""

    def __init__(self, run_id: str) -> None:
        made = create_progress_artifact(progress=0.0, key="label-progress", description=f"Images processed, {run_id}")
        assert isinstance(made, UUID)
        self._id = made
        self._at = time.monotonic()

    def update(self, progress: Progress) -> None:
        if time.monotonic() - self._at >= ARTIFACT_SECONDS:
            update_progress_artifact(self._id, 100.0 * progress.images / max(progress.total, 1))
            self._at = time.monotonic()

    def finish(self) -> None:
        update_progress_artifact(self._id, 100.0)
