"""Shards on Dask workers: a bounded number in flight, results in the order of their arrival, isolation of images that kill workers.

A plain Dask client inside one coarse Prefect task: one Prefect task a shard costs a hundred times more and repeats finished work after a
worker failure. This module does not use Prefect.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

from distributed import Client

from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ShardJob
from tasks.execution.failure_budget import FAILURE_BUDGET, FailureBudget
from tasks.execution.image_timeout import IMAGE_SECONDS
from tasks.execution.poison_isolation import isolate, next_jobs
from tasks.execution.stragglers import STRAGGLER_RULE, StragglerRule
from tasks.execution.submission import TaskSubmitter
from tasks.execution.worker_entrypoint import label_job

PATIENCE_SECONDS: Final = 120.0
"""Longest time without any worker, or without the scheduler. A nanny restarts a worker in seconds, on a busy machine in half a minute."""
MANY_WORKERS: Final = 8
"""From so many on, the cause of a worker failure is more often the machine than an image."""


def fan_out(
    client: Client,
    jobs: Iterable[ShardJob],
    on_receipt: Callable[[ShardReceipt], None],
    *,
    work: Callable[[str], str] = label_job,
    limit: float = IMAGE_SECONDS,
    patience: float = PATIENCE_SECONDS,
    resources: Mapping[str, float] | None = None,
    budget: FailureBudget = FAILURE_BUDGET,
    straggler_rule: StragglerRule = STRAGGLER_RULE,
) -> list[ShardReceipt]:
    """Run every job and return the receipts in the order in which they came; `on_receipt` is called with each, in the calling thread.

    jobs: taken one by one as there is room. work: runs on workers, `label_job` or a substitute that calls `image_timeout.heartbeat` for
    each image. limit: seconds an image may take, see `image_timeout`. resources: Dask resources that a job needs, such as `{"GPU": 1}`.
    When nothing waits any more, stragglers by `straggler_rule` are submitted to a second worker as well. ClusterError when workers or
    scheduler are gone for `patience` seconds, or when more workers fail than `budget` allows; any error that a shard reports is raised. In
    all cases no task is left on the scheduler.
    """
    submitter = TaskSubmitter(client, work, limit, patience, resources, budget=budget, straggler_rule=straggler_rule)
    receipts: list[ShardReceipt] = []

    def take(receipt: ShardReceipt) -> None:
        receipts.append(receipt)
        on_receipt(receipt)

    waiting = _Jobs(jobs)
    try:
        while suspects := _run_concurrently(submitter, waiting, take):
            _run_isolated(submitter, suspects, take, limit)
    finally:
        submitter.close()
    return receipts


class _Jobs:
    """Jobs to submit: cleared pieces of suspects first."""

    def __init__(self, jobs: Iterable[ShardJob]) -> None:
        self._jobs, self.cleared = iter(jobs), deque[ShardJob]()
        self.heard = set[PartName]()
        """Parts whose worker has failed before."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ShardJob:
        return self.cleared.popleft() if self.cleared else next(self._jobs)


def _run_concurrently(submitter: TaskSubmitter, waiting: _Jobs, take: Callable[[ShardReceipt], None]) -> list[ShardJob]:
    """The suspects: jobs that were running when their worker failed. When they are many, the other jobs wait until those are resolved.
    Empty where all is done. Where the image is known, the rest of its shard continues.

    With many workers, a job is no suspect before its second failure: of a thousand machines some fail every night, and each suspect runs
    while all other workers are idle.
    """
    suspects = list[ShardJob]()
    while (submitter.may_suspect(len(suspects)) and submitter.fill(waiting)) or len(submitter):
        job, answer = submitter.next_completed(repeat=submitter.room > 0)
        if isinstance(answer, ShardReceipt):
            take(answer)
            continue
        if answer.image is None:
            excused = submitter.most_workers >= MANY_WORKERS and job.part not in waiting.heard
            waiting.heard.add(job.part)
            (waiting.cleared if excused else suspects).append(job)
            continue
        for piece in isolate(job, answer.image):
            guilty = any(image.uri == answer.image for image in piece.images)
            (suspects if guilty else waiting.cleared).append(piece)
    return suspects


def _run_isolated(submitter: TaskSubmitter, suspects: Iterable[ShardJob], take: Callable[[ShardReceipt], None], limit: float) -> None:
    """Run each suspect alone on the cluster, so that only it can be the cause of a failure. For several images, the worker reports each."""
    waiting = [(job, 0) for job in reversed(list(suspects))]
    while waiting:
        job, failures = waiting.pop()
        submitter.submit(job, report_images=len(job.images) > 1)
        job, answer = submitter.next_completed()
        if isinstance(answer, ShardReceipt):
            take(answer)
            continue
        following = next_jobs(job, answer, failures + 1, limit)
        waiting.extend((next_job, failures + 1 if len(following) == 1 else 0) for next_job in reversed(following))
