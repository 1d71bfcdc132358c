"""Submits jobs to Dask workers, collects their results, and checks that workers and scheduler still answer."""

import json
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError

from fer_core import errors
from fer_core.errors import ClusterError, FerflowError, OutageError
from fer_core.planning.cost_model import expected_seconds
from fer_core.run import PartName, ShardJob, ShardReceipt
from tasks.execution.poison_isolation import PASSED_OVER, FailureCause, FailureCount, WorkerFailure, max_suspects
from tasks.execution.stragglers import Running, straggler
from tasks.execution.worker_entrypoint import watched

IN_FLIGHT_A_WORKER: Final = 2
"""One that runs and one that is queued. Each takes memory here and at the scheduler."""
FEWEST_IN_FLIGHT: Final = 3
"""So that an adaptive cluster of one worker sees work for more of them."""
LOOK_SECONDS: Final = 1.0
"""Interval of the checks for workers, scheduler and late jobs."""
PACES_KEPT: Final = 500
"""Of the jobs that ended last, as the measure of lateness."""
STORE_TRIES: Final = 2
"""A worker itself retries storage requests (`fer_core.storage.retry`); another one may have a better connection."""
ANSWER_SECONDS: Final = 60.0
"""A worker may die after its job has ended and before the result is fetched. Dask then silently runs the job again, and waits for ever."""
CAUSE_SECONDS: Final = 2.0
"""A nanny's event with the cause may arrive after the event that the worker is gone, because they take different ways."""

_MEMORY, _SCHEDULER = "worker-restart-memory", "scheduler"
"""Dask's own topics: a nanny has ended its worker because of its memory, the scheduler has removed a worker that does not answer."""


@dataclass(frozen=True, slots=True)
class _Submission:
    job: ShardJob
    future: "Future[Any]"
    attempt: int
    """Submissions so far, counting those after a failure of the storage."""
    passed_over: int
    """Times it was submitted again because the worker where it was queued died."""
    repeated: bool = False
    """Whether it is a duplicate of a job in flight."""
    report_images: bool = False
    cost: float = 1.0
    """See `stragglers.Running`."""
    sent_at: float = field(default_factory=time.monotonic)


class TaskSubmitter:
    """Submits jobs and collects their results. Used by one thread."""

    def __init__(
        self, client: Client, work: Callable[[str], str], limit: float, patience: float, resources: Mapping[str, float] | None = None
    ) -> None:
        """limit: seconds an image may take. patience: seconds that workers or scheduler may be gone. resources: see `fan_out`."""
        self._resources = dict(resources) if resources else None
        self._client, self._work, self._limit, self._patience = client, work, limit, patience
        self._in_flight: dict[str, _Submission] = {}
        self._completed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._submitted: dict[PartName, int] = {}
        self._room, self._most_workers = 0, 0
        self._room_known_at = -1e9
        self._last_seen_alive = time.monotonic()
        self._labelled, self._failures = 0, FailureCount()
        self._paces: deque[float] = deque(maxlen=PACES_KEPT)
        self._repeated: set[PartName] = set()
        self._looked_at = 0.0
        self._news = _WorkerEvents(client)

    def __len__(self) -> int:
        return len(self._in_flight)

    @property
    def most_workers(self) -> int:
        """The most workers seen at a time."""
        return self._most_workers

    def may_suspect(self, suspects: int) -> bool:
        """Whether more jobs may run concurrently while so many suspects wait to run alone."""
        return suspects < max_suspects(self._labelled, self._most_workers)

    @property
    def room(self) -> int:
        """Jobs that may be submitted now. Where some is left after `fill`, nothing waits."""
        return self._window() - len(self._in_flight)

    def fill(self, waiting: Iterable[ShardJob]) -> bool:
        """Submit as many waiting jobs as there is room for; False when nothing was waiting."""
        submitted = False
        for _, job in zip(range(self.room), waiting, strict=False):
            self.submit(job)
            submitted = True
        return submitted

    def submit(self, job: ShardJob, attempt: int = 1, passed_over: int = 0, repeated: bool = False, *, report_images: bool = False) -> None:
        """Submit one job. Its key has run, part and number of the submission, so no result of an earlier submission is taken for it.

        report_images: let the worker report each image before it processes it, see `worker_entrypoint.watched`.
        """
        number = self._submitted[job.part] = self._submitted.get(job.part, 0) + 1
        key = f"{job.config.run_id}/{job.part}/{number}"
        text = json.dumps(job.to_json())
        try:
            given = (self._work, text, self._news.topic, self._limit, report_images)
            future = self._client.submit(watched, *given, key=key, pure=False, resources=self._resources)
        except (ClosedClientError, OSError) as error:
            raise self._gone() from error
        cost = 0.0 if job.crashed else expected_seconds(image.size for image in job.images)
        self._in_flight[key] = _Submission(job, future, attempt, passed_over, repeated, report_images, cost)
        future.add_done_callback(lambda done: self._completed.put(done.key))

    def next_completed(self, repeat: bool = False) -> tuple[ShardJob, ShardReceipt | WorkerFailure]:
        """Wait for the next job that ends, with its receipt or with the failure of its worker.

        repeat: nothing else is waiting, so stragglers may be submitted again to idle workers. The first receipt of a job counts; while one
        of two duplicates still runs, the failure of the other is no failure of the job. ClusterError when no worker or no scheduler answers
        any more, or when too many workers fail.
        """
        while True:
            if repeat and time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._repeat_stragglers()
            try:
                sent = self._in_flight.pop(self._completed.get(timeout=LOOK_SECONDS))
            except queue.Empty:
                self._check_alive()
                continue
            except KeyError:  # cancelled since
                continue
            answer = self._answer(sent)
            if self._has_running_duplicate(sent, answer):
                continue
            if answer is None:
                self._resubmit(sent)
                continue
            self._last_seen_alive = time.monotonic()
            if isinstance(answer, ShardReceipt):
                self._labelled += sum(answer.statuses.values()) if not sent.job.crashed else 0
                if sent.job.crashed:
                    self._failures.excuse()
                self._note_pace(sent)
                return sent.job, answer
            elif isinstance(answer, WorkerFailure):
                if answer.began or sent.passed_over >= PASSED_OVER:
                    self._count(sent, answer)
                    return sent.job, answer
                self._resubmit(sent, passed_over=1)
            elif isinstance(answer, OutageError) and sent.attempt < STORE_TRIES:
                self._resubmit(sent, attempts=1)
            else:
                raise answer

    def _resubmit(self, sent: _Submission, *, attempts: int = 0, passed_over: int = 0) -> None:
        tell = sent.report_images
        self.submit(sent.job, sent.attempt + attempts, sent.passed_over + passed_over, report_images=tell)

    def close(self) -> None:
        """Cancel all jobs in flight."""
        in_flight, self._in_flight = self._in_flight, {}
        if self._client.status == "running":
            self._news.close()
            if in_flight:
                self._client.cancel([sent.future for sent in in_flight.values()], force=True)

    def _repeat_stragglers(self) -> None:
        """Submit the latest of the late jobs once more for each idle worker. A job is repeated once at most."""
        self._looked_at = time.monotonic()
        free = sum(self._threads().values()) - len(self._in_flight)
        alone = {key: sent for key, sent in self._in_flight.items() if sent.job.part not in self._repeated and sent.cost > 0}
        for _ in range(free):
            running = [Running(key, sent.cost, self._looked_at - self._since(key, sent)) for key, sent in alone.items()]
            late = straggler(running, self._paces)
            if late is None:
                return
            job = alone.pop(late).job
            self._repeated.add(job.part)
            self.submit(job, repeated=True)

    def _has_running_duplicate(self, sent: _Submission, answer: ShardReceipt | WorkerFailure | FerflowError | None) -> bool:
        """Whether a duplicate of the job is still in flight and decides. Otherwise duplicates of a decided job are cancelled."""
        beside = [key for key, other in self._in_flight.items() if other.job.part == sent.job.part] if self._repeated else []
        if not beside:
            return False
        told = isinstance(answer, WorkerFailure) and answer.image is not None
        undecided = answer is None or isinstance(answer, OutageError) or (isinstance(answer, WorkerFailure) and not told)
        if not undecided:
            self._client.cancel([self._in_flight.pop(key).future for key in beside], force=True)
        elif isinstance(answer, WorkerFailure) and answer.began:
            self._count(sent, answer)
        return undecided

    def _note_pace(self, sent: _Submission) -> None:
        seconds = time.monotonic() - self._since(str(sent.future.key), sent)
        if sent.cost > 0:
            self._paces.append(seconds / sent.cost)

    def _since(self, key: str, sent: _Submission) -> float:
        return self._news.began_at(key) or sent.sent_at

    def _answer(self, sent: _Submission) -> ShardReceipt | WorkerFailure | FerflowError | None:
        """The result of a job, or the failure of its worker; None where the result is lost with the worker. Other errors of the work are
        raised."""
        future = sent.future
        try:
            if future.status == "finished":
                answer: dict[str, Any] = json.loads(future.result(timeout=ANSWER_SECONDS))
                future.release()
                return ShardReceipt.from_json(answer["receipt"]) if "receipt" in answer else _as_error(answer)
            if future.status == "cancelled":
                raise self._gone()
            error = future.exception(timeout=ANSWER_SECONDS) if future.status == "error" else None
        except TimeoutError:
            error = None
        except KilledWorker as killed:  # while Dask ran it again after it had ended
            error = killed
        except CancelledError as lost:
            raise self._gone() from lost
        future.release()
        if error is None:
            self._check_alive()
            return None
        if isinstance(error, KilledWorker):
            # the cause matters only for an image that was processed alone; otherwise there is no wait for it
            alone = len(sent.job.images) == 1 and not self._in_flight
            return self._news.failure(str(future.key), error.last_worker.address, CAUSE_SECONDS if alone else 0.0)
        raise error

    def _count(self, sent: _Submission, failure: WorkerFailure) -> None:
        """Count a worker failure. ClusterError when there are too many."""
        job = sent.job
        alone = len(job.images) == 1 and not self._in_flight
        self._failures.add(named=failure.image is not None or alone)
        if job.crashed or not self._failures.exceeds_budget(self._labelled, self._most_workers):
            return
        raise ClusterError(
            f"{self._failures.total} workers died while {self._labelled} images were labelled: the cause is the machine, "
            f"the detector or the model rather than single images (the last failure was at {_shown(job)})"
        )

    def _window(self) -> int:
        """Most jobs in flight; refreshed every few seconds, because workers come and go."""
        if time.monotonic() - self._room_known_at > 5.0:
            threads = self._threads()
            self._room, self._most_workers = IN_FLIGHT_A_WORKER * sum(threads.values()), max(self._most_workers, len(threads))
            self._room_known_at = time.monotonic()
        return max(self._room, FEWEST_IN_FLIGHT)

    def _threads(self) -> dict[str, int]:
        """Threads of each worker. Nothing where the scheduler does not answer."""
        try:
            found: dict[str, int] = self._client.nthreads() if self._client.status == "running" else {}
        except (OSError, TimeoutError, ValueError):  # which the client itself has not noticed yet
            return {}
        return found

    def _check_alive(self) -> None:
        if self._threads():
            self._last_seen_alive = time.monotonic()
        elif time.monotonic() - self._last_seen_alive > self._patience:
            what = "no Dask worker is left" if self._client.status == "running" else "the Dask scheduler does not answer"
            raise ClusterError(f"{what} (waited {self._patience:g} s)")

    def _gone(self) -> ClusterError:
        address = getattr(self._client.scheduler, "address", "")
        return ClusterError(f"the Dask scheduler{' at ' + address if address else ''} went away")


class _WorkerEvents:
    """Events of workers, nannies and the scheduler. Written by the client's thread, read by another."""

    def __init__(self, client: Client) -> None:
        self.topic = f"ferflow-{uuid4().hex}"
        self._client = client
        self._began: dict[str, float] = {}
        self._stuck: dict[str, str | None] = {}
        self._turned_to: dict[str, str | None] = {}
        self._ended: dict[str, FailureCause] = {}
        self._told = threading.Condition()
        client.subscribe_topic(self.topic, self._hear_work)
        client.subscribe_topic(_MEMORY, self._hear_memory)
        client.subscribe_topic(_SCHEDULER, self._hear_scheduler)

    def failure(self, key: str, worker: str, seconds: float) -> WorkerFailure:
        """The failure of a worker that had this task, as far as it is known. worker: its address. seconds: to wait for its cause."""
        if key in self._stuck:
            return WorkerFailure(FailureCause.STUCK, image=self._stuck[key])
        with self._told:
            self._told.wait_for(lambda: worker in self._ended, timeout=seconds)
        return WorkerFailure(self._ended.get(worker, FailureCause.DIED), began=key in self._began, image=self._turned_to.get(key))

    def began_at(self, key: str) -> float | None:
        """When the event arrived that this task began, by the monotonic clock."""
        return self._began.get(key)

    def close(self) -> None:
        """Unsubscribe."""
        for topic in (self.topic, _MEMORY, _SCHEDULER):
            self._client.unsubscribe_topic(topic)

    def _hear_work(self, event: tuple[float, dict[str, Any]]) -> None:
        told = event[1]
        self._began.setdefault(told["key"], time.monotonic())
        if "image" in told:
            self._turned_to[told["key"]] = told["image"]
        if "stuck_at" in told:
            self._stuck[told["key"]] = told["stuck_at"]

    def _hear_memory(self, event: tuple[float, dict[str, Any]]) -> None:
        self._note_end(event[1]["worker"], FailureCause.MEMORY)

    def _hear_scheduler(self, event: tuple[float, dict[str, Any]]) -> None:
        if event[1].get("action") == "worker-ttl-timed-out":
            for worker in event[1]["workers"]:
                self._note_end(worker, FailureCause.FROZEN)

    def _note_end(self, worker: str, cause: FailureCause) -> None:
        with self._told:
            self._ended[worker] = cause
            self._told.notify_all()


def _shown(job: ShardJob) -> str:
    others = len(job.images) - 1
    return job.images[0].uri + (f" or the {others} images after it" if others else "")


def _as_error(answer: dict[str, Any]) -> FerflowError:
    """The error that a worker reported, in the class that it named."""
    kind = getattr(errors, answer["error"], FerflowError)
    return kind(answer["message"]) if issubclass(kind, FerflowError) else FerflowError(answer["message"])
