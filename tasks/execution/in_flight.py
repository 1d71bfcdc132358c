"""Tasks on the scheduler: their keys, and their results as they come."""

import json
import queue
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError

from fer_core import errors
from fer_core.errors import FerflowError
from fer_core.planning.cost_model import expected_seconds
from fer_core.run.part_name import PartName
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ShardJob
from tasks.execution.worker_entrypoint import watched
from tasks.execution.worker_pool import scheduler_gone


@dataclass(frozen=True, slots=True)
class Submission:
    """One submission of a job."""

    job: ShardJob
    key: str
    future: "Future[Any]"
    attempt: int
    """Submissions so far, counting those after a failure of the storage."""
    passed_over: int
    """Times it was submitted again because the worker where it was queued died."""
    report_images: bool
    cost: float
    """See `stragglers.Running`."""
    sent_at: float = field(default_factory=time.monotonic)


class InFlight:
    """Submissions whose results are not collected yet, in their order. Used by one thread."""

    def __init__(
        self, client: Client, work: Callable[[str], str], topic: str, limit: float, resources: Mapping[str, float] | None = None
    ) -> None:
        """topic, limit: see `worker_entrypoint.watched`. resources: see `fan_out`."""
        self._resources = dict(resources) if resources else None
        self._client, self._work, self._topic, self._limit = client, work, topic, limit
        self._by_key: dict[str, Submission] = {}
        self._completed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._submitted: dict[PartName, int] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Submission]:
        return iter(self._by_key.values())

    def submit(self, job: ShardJob, attempt: int = 1, passed_over: int = 0, *, report_images: bool = False) -> None:
        """Submit one job. Its key has run, part and number of the submission, so no result of an earlier submission is taken for it.

        report_images: let the worker report each image before it processes it, see `worker_entrypoint.watched`.
        """
        number = self._submitted[job.part] = self._submitted.get(job.part, 0) + 1
        key = f"{job.config.run_id}/{job.part}/{number}"
        text = json.dumps(job.to_json())
        try:
            given = (self._work, text, self._topic, self._limit, report_images)
            future = self._client.submit(watched, *given, key=key, pure=False, resources=self._resources)
        except (ClosedClientError, OSError) as error:
            raise scheduler_gone(self._client) from error
        cost = 0.0 if job.crashed else expected_seconds(image.size for image in job.images)
        self._by_key[key] = Submission(job, key, future, attempt, passed_over, report_images, cost)
        future.add_done_callback(lambda done: self._completed.put(done.key))

    def resubmit(self, sent: Submission, *, attempts: int = 0, passed_over: int = 0) -> None:
        """Submit its job again. attempts, passed_over: to add to those of the submission."""
        self.submit(sent.job, sent.attempt + attempts, sent.passed_over + passed_over, report_images=sent.report_images)

    def next_done(self, timeout: float) -> Submission | None:
        """Remove and return the next one that ends; None where none does within `timeout` seconds."""
        while True:
            try:
                return self._by_key.pop(self._completed.get(timeout=timeout))
            except queue.Empty:
                return None
            except KeyError:  # cancelled since
                continue

    def result(self, sent: Submission, timeout: float) -> ShardReceipt | FerflowError | KilledWorker | None:
        """The result of a task that has ended; None where it is lost with the worker. Other errors of the work are raised."""
        future = sent.future
        try:
            if future.status == "finished":
                answer: dict[str, Any] = json.loads(future.result(timeout=timeout))
                future.release()
                return ShardReceipt.from_json(answer["receipt"]) if "receipt" in answer else _as_error(answer)
            if future.status == "cancelled":
                raise scheduler_gone(self._client)
            error = future.exception(timeout=timeout) if future.status == "error" else None
        except TimeoutError:
            error = None
        except KilledWorker as killed:  # while Dask ran it again after it had ended
            error = killed
        except CancelledError as lost:
            raise scheduler_gone(self._client) from lost
        future.release()
        if error is None or isinstance(error, KilledWorker):
            return error
        raise error

    def cancel(self, keys: Collection[str]) -> None:
        """Remove these, and end them at their workers."""
        self._client.cancel([self._by_key.pop(key).future for key in keys], force=True)

    def close(self) -> None:
        """Cancel all."""
        if self._client.status == "running" and self._by_key:
            self.cancel(list(self._by_key))
        self._by_key.clear()


def _as_error(answer: dict[str, Any]) -> FerflowError:
    """The error that a worker reported, in the class that it named."""
    kind = getattr(errors, answer["error"], FerflowError)
    return kind(answer["message"]) if issubclass(kind, FerflowError) else FerflowError(answer["message"])
