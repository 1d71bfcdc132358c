"""Shards on Dask workers: a bounded number in flight, answers taken as they come, killers of workers found and isolated.

A plain client inside one coarse task, because a task a shard in the orchestrator costs a hundred times more and redoes finished work when a
worker dies. Knows no Prefect.
"""

import json
import queue
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from distributed import Client, Future, KilledWorker

from fer_core import errors
from fer_core.errors import ClusterError, FerflowError, StoreError
from fer_core.run import ShardJob, ShardReceipt
from tasks.work import label_job

IN_FLIGHT_A_WORKER: Final = 3
"""One at work, one that is there when it is done, one on its way."""
STORE_TRIES: Final = 3
DEATHS_TO_CRASH: Final = 2
"""Workers that a single image may kill while nothing else runs: one death may be the machine's, two are the image's."""
PATIENCE_SECONDS: Final = 60.0
"""How long no worker, or no scheduler, may answer. A nanny needs a few seconds to restart a worker."""


def bisect(job: ShardJob) -> tuple[ShardJob, ...]:
    """The two halves of a job of several images, in its order, named `part-0` and `part-1`; a job of one image has none."""
    middle = len(job.images) // 2
    if not middle:
        return ()
    halves = job.images[:middle], job.images[middle:]
    return tuple(replace(job, part=f"{job.part}-{number}", images=images) for number, images in enumerate(halves))


def after_death(job: ShardJob, deaths: int) -> tuple[ShardJob, ...]:
    """What to run next, in order, after a job that ran with nothing beside it has killed its worker for the `deaths`-th time.

    ClusterError when workers die even of writing a row about an image that they do not look at.
    """
    if job.crashed:
        raise ClusterError(f"workers die without looking at any image: {job.part}")
    if len(job.images) > 1:
        return bisect(job)
    return (job if deaths < DEATHS_TO_CRASH else replace(job, crashed=True),)


def fan_out(
    client: Client,
    jobs: Iterable[ShardJob],
    on_receipt: Callable[[ShardReceipt], None],
    *,
    work: Callable[[str], str] = label_job,
    patience: float = PATIENCE_SECONDS,
) -> list[ShardReceipt]:
    """Run every job and return the receipts in the order in which they came; `on_receipt` is called with each, in the calling thread.

    jobs: taken one by one as there is room. work: runs on workers, `label_job` or a stand-in. ClusterError when workers or scheduler are
    gone for `patience` seconds; any error a shard reports is raised as what it is. However it ends, nothing is left on the scheduler.
    """
    flights = _Flights(client, work, patience)
    receipts: list[ShardReceipt] = []

    def take(receipt: ShardReceipt) -> None:
        receipts.append(receipt)
        on_receipt(receipt)

    try:
        suspects = _all_at_once(flights, iter(jobs), take)
        _one_at_a_time(flights, suspects, take)
    finally:
        flights.cancel()
    return receipts


def _all_at_once(flights: "_Flights", jobs: Iterable[ShardJob], take: Callable[[ShardReceipt], None]) -> list[ShardJob]:
    """The jobs whose worker died: any of those that were on it may be the reason."""
    waiting, suspects = iter(jobs), []
    while flights.fill(waiting) or len(flights):
        job, receipt = flights.land()
        if receipt is None:
            suspects.append(job)
        else:
            take(receipt)
    return suspects


def _one_at_a_time(flights: "_Flights", suspects: Iterable[ShardJob], take: Callable[[ShardReceipt], None]) -> None:
    """Alone on the cluster, a job whose worker dies has no excuse."""
    waiting = [(job, 0) for job in reversed(list(suspects))]
    while waiting:
        job, deaths = waiting.pop()
        flights.launch(job)
        job, receipt = flights.land()
        if receipt is not None:
            take(receipt)
            continue
        deaths = deaths + 1 if len(job.images) == 1 else 0
        waiting.extend((following, deaths) for following in reversed(after_death(job, deaths)))


@dataclass(frozen=True, slots=True)
class _Flight:
    job: ShardJob
    attempt: int
    future: "Future[Any]"


class _Flights:
    """Jobs on their way to workers and back."""

    def __init__(self, client: Client, work: Callable[[str], str], patience: float) -> None:
        self._client, self._work, self._patience = client, work, patience
        self._flying: dict[str, _Flight] = {}
        self._landed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._launched: dict[str, int] = {}
        self._room = 0
        self._room_known_at = -1e9
        self._last_seen_alive = time.monotonic()

    def __len__(self) -> int:
        return len(self._flying)

    def fill(self, waiting: Iterable[ShardJob]) -> bool:
        """Launch what there is room for; False when nothing was waiting."""
        launched = False
        room = self._window() - len(self._flying)
        for _, job in zip(range(room), waiting, strict=False):
            self.launch(job)
            launched = True
        return launched

    def launch(self, job: ShardJob, attempt: int = 1) -> None:
        """Send one job. Its key names run, part and time of sending, so that no answer of an earlier sending is taken for it."""
        number = self._launched[job.part] = self._launched.get(job.part, 0) + 1
        key = f"{job.config.run_id}/{job.part}/{number}"
        future = self._client.submit(self._work, json.dumps(job.to_json()), key=key, pure=False)
        self._flying[key] = _Flight(job, attempt, future)
        future.add_done_callback(lambda done: self._landed.put(done.key))

    def land(self) -> tuple[ShardJob, ShardReceipt | None]:
        """Wait for the next job that ends. None for its receipt when its worker died."""
        while True:
            try:
                flight = self._flying.pop(self._landed.get(timeout=1.0))
            except queue.Empty:
                self._check_alive()
                continue
            except KeyError:  # cancelled since
                continue
            self._last_seen_alive = time.monotonic()
            answer = self._answer(flight.future)
            if answer is None:
                return flight.job, None
            if "receipt" in answer:
                return flight.job, ShardReceipt.from_json(answer["receipt"])
            error = _as_error(answer)
            if not isinstance(error, StoreError) or flight.attempt >= STORE_TRIES:
                raise error
            self.launch(flight.job, flight.attempt + 1)

    def cancel(self) -> None:
        """Forget whatever still flies."""
        flying, self._flying = self._flying, {}
        if flying and self._client.status == "running":
            self._client.cancel([flight.future for flight in flying.values()], force=True)

    def _answer(self, future: "Future[Any]") -> dict[str, Any] | None:
        status = future.status
        if status == "finished":
            answer: dict[str, Any] = json.loads(future.result())
            future.release()
            return answer
        if status != "error":
            raise ClusterError("the Dask scheduler went away")
        error = future.exception()
        future.release()
        if isinstance(error, KilledWorker):
            return None
        raise error

    def _window(self) -> int:
        """Asked for anew every few seconds, because workers come and go."""
        if time.monotonic() - self._room_known_at > 5.0:
            self._room = IN_FLIGHT_A_WORKER * sum(self._client.nthreads().values())
            self._room_known_at = time.monotonic()
        return max(self._room, 1)

    def _check_alive(self) -> None:
        if self._client.status == "running" and self._client.nthreads():
            self._last_seen_alive = time.monotonic()
        elif time.monotonic() - self._last_seen_alive > self._patience:
            what = "no Dask worker is left" if self._client.status == "running" else "the Dask scheduler does not answer"
            raise ClusterError(f"{what} (waited {self._patience:g} s)")


def _as_error(answer: dict[str, Any]) -> FerflowError:
    """The error a worker told of, as the class it named."""
    kind = getattr(errors, answer["error"], FerflowError)
    return kind(answer["message"]) if issubclass(kind, FerflowError) else FerflowError(answer["message"])
