"""Submits jobs to Dask workers and decides what each result means: a receipt, a worker failure, or another submission of the job."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from distributed import Client, KilledWorker

from fer_core.errors import FerflowError, OutageError
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ShardJob
from tasks.execution.failure_budget import FAILURE_BUDGET, FailureBudget, FailureCount
from tasks.execution.in_flight import InFlight, Submission
from tasks.execution.poison_isolation import PASSED_OVER, WorkerFailure
from tasks.execution.stragglers import STRAGGLER_RULE, Duplicates, StragglerRule
from tasks.execution.worker_events import WorkerEvents
from tasks.execution.worker_pool import Capacity, Liveness

STORE_TRIES: Final = 2
"""A worker itself retries storage requests (`fer_core.storage.retry`); another one may have a better connection."""


@dataclass(frozen=True, slots=True)
class SubmissionTimeouts:
    """Seconds to wait for workers."""

    check: float = 1.0
    """Interval of the checks for workers, scheduler and late jobs."""
    result: float = 60.0
    """A worker may die after its job has ended and before the result is fetched. Dask then silently runs the job again, and waits for
    ever."""
    cause: float = 2.0
    """A nanny's event with the cause may arrive after the event that the worker is gone, because they take different ways."""


class TaskSubmitter:
    """Submits jobs and collects their results. Used by one thread."""

    def __init__(
        self,
        client: Client,
        work: Callable[[str], str],
        limit: float,
        patience: float,
        resources: Mapping[str, float] | None = None,
        *,
        timeouts: SubmissionTimeouts = SubmissionTimeouts(),
        budget: FailureBudget = FAILURE_BUDGET,
        straggler_rule: StragglerRule = STRAGGLER_RULE,
    ) -> None:
        """limit: seconds an image may take. patience: seconds that workers or scheduler may be gone. resources: see `fan_out`."""
        self._timeouts = timeouts
        self._events = WorkerEvents(client)
        self._in_flight = InFlight(client, work, self._events.topic, limit, resources)
        self._capacity, self._liveness = Capacity(client), Liveness(client, patience)
        self._duplicates = Duplicates(self._in_flight, self._capacity, self._events, straggler_rule)
        self._failures = FailureCount(budget)

    def __len__(self) -> int:
        return len(self._in_flight)

    @property
    def most_workers(self) -> int:
        """The most workers seen at a time."""
        return self._capacity.most_workers

    def may_suspect(self, suspects: int) -> bool:
        """Whether more jobs may run concurrently while so many suspects wait to run alone."""
        return suspects < self._failures.max_suspects(self.most_workers)

    @property
    def room(self) -> int:
        """Jobs that may be submitted now. Where some is left after `fill`, nothing waits."""
        return self._capacity.max_in_flight - len(self)

    def fill(self, waiting: Iterable[ShardJob]) -> bool:
        """Submit as many waiting jobs as there is room for; False when nothing was waiting."""
        submitted = False
        for _, job in zip(range(self.room), waiting, strict=False):
            self.submit(job)
            submitted = True
        return submitted

    def submit(self, job: ShardJob, *, report_images: bool = False) -> None:
        """Submit one job, see `InFlight.submit`."""
        self._in_flight.submit(job, report_images=report_images)

    def next_completed(self, repeat: bool = False) -> tuple[ShardJob, ShardReceipt | WorkerFailure]:
        """Wait for the next job that ends, with its receipt or with the failure of its worker.

        repeat: nothing else is waiting, so stragglers may be submitted again to idle workers. The first receipt of a job counts; while one
        of two duplicates still runs, the failure of the other is no failure of the job. ClusterError when no worker or no scheduler answers
        any more, or when too many workers fail.
        """
        while True:
            if repeat:
                self._duplicates.submit(self._timeouts.check)
            sent = self._in_flight.next_done(self._timeouts.check)
            if sent is None:
                self._liveness.check()
                continue
            answer = self._answer(sent)
            if self._has_running_duplicate(sent, answer):
                continue
            if answer is None:
                self._in_flight.resubmit(sent)
                continue
            self._liveness.seen()
            if isinstance(answer, ShardReceipt):
                self._failures.add_receipt(sent.job, answer)
                self._duplicates.note_pace(sent)
                return sent.job, answer
            elif isinstance(answer, WorkerFailure):
                if answer.began or sent.passed_over >= PASSED_OVER:
                    self._count(sent.job, answer)
                    return sent.job, answer
                self._in_flight.resubmit(sent, passed_over=1)
            elif isinstance(answer, OutageError) and sent.attempt < STORE_TRIES:
                self._in_flight.resubmit(sent, attempts=1)
            else:
                raise answer

    def close(self) -> None:
        """Cancel all jobs in flight."""
        self._events.close()
        self._in_flight.close()

    def _answer(self, sent: Submission) -> ShardReceipt | WorkerFailure | FerflowError | None:
        """The result of a job, or the failure of its worker; None where the result is lost with the worker. Other errors of the work are
        raised."""
        result = self._in_flight.result(sent, self._timeouts.result)
        if result is None:
            self._liveness.check()
        if not isinstance(result, KilledWorker):
            return result
        # the cause matters only for an image that was processed alone; otherwise there is no wait for it
        return self._events.failure(sent.key, result.last_worker.address, self._timeouts.cause if self._was_alone(sent.job) else 0.0)

    def _has_running_duplicate(self, sent: Submission, answer: ShardReceipt | WorkerFailure | FerflowError | None) -> bool:
        """Whether a duplicate of the job is still in flight and decides. Otherwise duplicates of a decided job are cancelled."""
        beside = self._duplicates.of(sent)
        if not beside:
            return False
        told = isinstance(answer, WorkerFailure) and answer.image is not None
        undecided = answer is None or isinstance(answer, OutageError) or (isinstance(answer, WorkerFailure) and not told)
        if not undecided:
            self._in_flight.cancel(beside)
        elif isinstance(answer, WorkerFailure) and answer.began:
            self._count(sent.job, answer)
        return undecided

    def _count(self, job: ShardJob, failure: WorkerFailure) -> None:
        """Count a worker failure. ClusterError when there are too many."""
        self._failures.add(named=failure.image is not None or self._was_alone(job))
        if not job.crashed and self._failures.exceeds_budget(self.most_workers):
            raise self._failures.error(job)

    def _was_alone(self, job: ShardJob) -> bool:
        """Whether only one image was processed on the cluster when the job ended."""
        return len(job.images) == 1 and not self._in_flight
