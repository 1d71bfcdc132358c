"""Jobs on their way to Dask workers and back: what was sent, what came of it, and whether anybody is still there."""

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
from fer_core.run import ShardJob, ShardReceipt
from tasks.execution.poison_isolation import PASSED_OVER, Cause, Death, DeathCount, suspects_at_once
from tasks.execution.stragglers import Running, straggler
from tasks.execution.worker_entrypoint import watched

IN_FLIGHT_A_WORKER: Final = 2
"""One at work and one that is there when it is done. Each takes memory here and at the scheduler."""
FEWEST_IN_FLIGHT: Final = 3
"""So that an adaptive cluster of one worker sees what more of them would do."""
LOOK_SECONDS: Final = 1.0
"""How often it is looked whether anybody is still there, and whether some job is late."""
PACES_KEPT: Final = 500
"""Of jobs that have ended last, to tell which are late."""
STORE_TRIES: Final = 2
"""A worker is patient with the storage itself (`fer_core.storage.retry`); another one may have the better line."""
ANSWER_SECONDS: Final = 60.0
"""A worker that has answered may die before its answer is fetched. Dask then has the job done again in silence, and waits for ever."""
CAUSE_SECONDS: Final = 2.0
"""A nanny's word why it ended a worker goes another way than the news that the worker is gone, and may come after it."""

_MEMORY, _SCHEDULER = "worker-restart-memory", "scheduler"
"""Topics of Dask's own: a nanny that ends its worker for its memory, the scheduler that gives up a worker which does not answer."""


@dataclass(frozen=True, slots=True)
class _Flight:
    job: ShardJob
    future: "Future[Any]"
    attempt: int
    """How often it was sent because the storage failed."""
    passed_over: int
    """How often it was sent because the worker where it waited died."""
    repeated: bool = False
    """Whether another sending of the same job was on its way already."""
    tell_images: bool = False
    cost: float = 1.0
    """See `speculation.Running`."""
    sent_at: float = field(default_factory=time.monotonic)


class Flights:
    """Sends jobs and takes their answers. Used by one thread."""

    def __init__(
        self, client: Client, work: Callable[[str], str], limit: float, patience: float, resources: Mapping[str, float] | None = None
    ) -> None:
        """limit: seconds an image may take. patience: seconds that workers or scheduler may be gone. resources: see `fan_out`."""
        self._resources = dict(resources) if resources else None
        self._client, self._work, self._limit, self._patience = client, work, limit, patience
        self._flying: dict[str, _Flight] = {}
        self._landed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._launched: dict[str, int] = {}
        self._room, self._most_workers = 0, 0
        self._room_known_at = -1e9
        self._last_seen_alive = time.monotonic()
        self._labelled, self._deaths = 0, DeathCount()
        self._paces: deque[float] = deque(maxlen=PACES_KEPT)
        self._repeated: set[str] = set()
        self._looked_at = 0.0
        self._news = _News(client)

    def __len__(self) -> int:
        return len(self._flying)

    @property
    def most_workers(self) -> int:
        """The most there were at a time, as far as it was seen."""
        return self._most_workers

    def may_suspect(self, suspects: int) -> bool:
        """Whether more jobs may be tried beside each other while so many wait to be tried alone."""
        return suspects < suspects_at_once(self._labelled, self._most_workers)

    @property
    def room(self) -> int:
        """Jobs that may be sent now. Where some is left after `fill`, nothing waits."""
        return self._window() - len(self._flying)

    def fill(self, waiting: Iterable[ShardJob]) -> bool:
        """Launch what there is room for; False when nothing was waiting."""
        launched = False
        for _, job in zip(range(self.room), waiting, strict=False):
            self.launch(job)
            launched = True
        return launched

    def launch(self, job: ShardJob, attempt: int = 1, passed_over: int = 0, repeated: bool = False, *, tell_images: bool = False) -> None:
        """Send one job. Its key names run, part and time of sending, so that no answer of an earlier sending is taken for it.

        tell_images: have the worker tell of each image before it turns to it, see `work.watched`.
        """
        number = self._launched[job.part] = self._launched.get(job.part, 0) + 1
        key = f"{job.config.run_id}/{job.part}/{number}"
        text = json.dumps(job.to_json())
        try:
            given = (self._work, text, self._news.topic, self._limit, tell_images)
            future = self._client.submit(watched, *given, key=key, pure=False, resources=self._resources)
        except (ClosedClientError, OSError) as error:
            raise self._gone() from error
        cost = 0.0 if job.crashed else expected_seconds(image.size for image in job.images)
        self._flying[key] = _Flight(job, future, attempt, passed_over, repeated, tell_images, cost)
        future.add_done_callback(lambda done: self._landed.put(done.key))

    def land(self, repeat: bool = False) -> tuple[ShardJob, ShardReceipt | Death]:
        """Wait for the next job that ends, with its receipt or with the death of the worker that was at it.

        repeat: nothing else is waiting, so that workers without work may do again what takes another one too long; the first receipt of a
        job counts, and of two workers that are at it the one that dies first is no death of the job. ClusterError when nobody is there any
        more, or when workers die of too much.
        """
        while True:
            if repeat and time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._repeat_late()
            try:
                flight = self._flying.pop(self._landed.get(timeout=LOOK_SECONDS))
            except queue.Empty:
                self._check_alive()
                continue
            except KeyError:  # cancelled since
                continue
            answer = self._answer(flight)
            if self._goes_on_elsewhere(flight, answer):
                continue
            if answer is None:
                self._again(flight)
                continue
            self._last_seen_alive = time.monotonic()
            if isinstance(answer, ShardReceipt):
                self._labelled += sum(answer.statuses.values()) if not flight.job.crashed else 0
                if flight.job.crashed:
                    self._deaths.excuse()
                self._note_pace(flight)
                return flight.job, answer
            elif isinstance(answer, Death):
                if answer.began or flight.passed_over >= PASSED_OVER:
                    self._count(flight, answer)
                    return flight.job, answer
                self._again(flight, passed_over=1)
            elif isinstance(answer, OutageError) and flight.attempt < STORE_TRIES:
                self._again(flight, attempts=1)
            else:
                raise answer

    def _again(self, flight: _Flight, *, attempts: int = 0, passed_over: int = 0) -> None:
        tell = flight.tell_images
        self.launch(flight.job, flight.attempt + attempts, flight.passed_over + passed_over, tell_images=tell)

    def close(self) -> None:
        """Forget whatever still flies."""
        flying, self._flying = self._flying, {}
        if self._client.status == "running":
            self._news.close()
            if flying:
                self._client.cancel([flight.future for flight in flying.values()], force=True)

    def _repeat_late(self) -> None:
        """Send the latest of the late jobs once more for each worker that has nothing to do. A job is repeated once at most."""
        self._looked_at = time.monotonic()
        free = sum(self._threads().values()) - len(self._flying)
        alone = {key: flight for key, flight in self._flying.items() if flight.job.part not in self._repeated and flight.cost > 0}
        for _ in range(free):
            running = [Running(key, flight.cost, self._looked_at - self._since(key, flight)) for key, flight in alone.items()]
            late = straggler(running, self._paces)
            if late is None:
                return
            job = alone.pop(late).job
            self._repeated.add(job.part)
            self.launch(job, repeated=True)

    def _goes_on_elsewhere(self, flight: _Flight, answer: ShardReceipt | Death | FerflowError | None) -> bool:
        """Whether another sending of the same job still flies and decides; else what flies beside a decision is called back."""
        beside = [key for key, other in self._flying.items() if other.job.part == flight.job.part] if self._repeated else []
        if not beside:
            return False
        told = isinstance(answer, Death) and answer.image is not None
        undecided = answer is None or isinstance(answer, OutageError) or (isinstance(answer, Death) and not told)
        if not undecided:
            self._client.cancel([self._flying.pop(key).future for key in beside], force=True)
        elif isinstance(answer, Death) and answer.began:
            self._count(flight, answer)
        return undecided

    def _note_pace(self, flight: _Flight) -> None:
        seconds = time.monotonic() - self._since(str(flight.future.key), flight)
        if flight.cost > 0:
            self._paces.append(seconds / flight.cost)

    def _since(self, key: str, flight: _Flight) -> float:
        return self._news.began_at(key) or flight.sent_at

    def _answer(self, flight: _Flight) -> ShardReceipt | Death | FerflowError | None:
        """What a worker said, or what became of it; None where its answer died with it. Whatever else the work raised is raised."""
        future = flight.future
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
        except KilledWorker as killed:  # at doing again what had been answered
            error = killed
        except CancelledError as lost:
            raise self._gone() from lost
        future.release()
        if error is None:
            self._check_alive()
            return None
        if isinstance(error, KilledWorker):
            # only of an image that was looked at alone does anybody ask why; else nobody need wait to hear it
            alone = len(flight.job.images) == 1 and not self._flying
            return self._news.death(str(future.key), error.last_worker.address, CAUSE_SECONDS if alone else 0.0)
        raise error

    def _count(self, flight: _Flight, death: Death) -> None:
        """One more death. ClusterError when there are too many."""
        job = flight.job
        alone = len(job.images) == 1 and not self._flying
        self._deaths.add(named=death.image is not None or alone)
        if job.crashed or not self._deaths.are_too_many(self._labelled, self._most_workers):
            return
        raise ClusterError(
            f"{self._deaths.total} workers died while {self._labelled} images were labelled: the cause is the machine, "
            f"the detector or the model rather than single images (the last failure was at {_shown(job)})"
        )

    def _window(self) -> int:
        """Asked for anew every few seconds, because workers come and go."""
        if time.monotonic() - self._room_known_at > 5.0:
            threads = self._threads()
            self._room, self._most_workers = IN_FLIGHT_A_WORKER * sum(threads.values()), max(self._most_workers, len(threads))
            self._room_known_at = time.monotonic()
        return max(self._room, FEWEST_IN_FLIGHT)

    def _threads(self) -> dict[str, int]:
        """Threads of each worker. Nothing where the scheduler does not answer."""
        try:
            found: dict[str, int] = self._client.nthreads() if self._client.status == "running" else {}
        except (OSError, TimeoutError, ValueError):  # of which the client itself has not heard yet
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


class _News:
    """What workers, nannies and the scheduler tell beside the answers. Written by the client's thread, read by another."""

    def __init__(self, client: Client) -> None:
        self.topic = f"ferflow-{uuid4().hex}"
        self._client = client
        self._began: dict[str, float] = {}
        self._stuck: dict[str, str | None] = {}
        self._turned_to: dict[str, str | None] = {}
        self._ended: dict[str, Cause] = {}
        self._told = threading.Condition()
        client.subscribe_topic(self.topic, self._hear_work)
        client.subscribe_topic(_MEMORY, self._hear_memory)
        client.subscribe_topic(_SCHEDULER, self._hear_scheduler)

    def death(self, key: str, worker: str, seconds: float) -> Death:
        """What is known of the end of a worker that had this task. worker: its address. seconds: to wait for a word of why it ended."""
        if key in self._stuck:
            return Death(Cause.STUCK, image=self._stuck[key])
        with self._told:
            self._told.wait_for(lambda: worker in self._ended, timeout=seconds)
        return Death(self._ended.get(worker, Cause.DIED), began=key in self._began, image=self._turned_to.get(key))

    def began_at(self, key: str) -> float | None:
        """When it was told that this task began, by the monotonic clock."""
        return self._began.get(key)

    def close(self) -> None:
        """Listen no more."""
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
        self._note_end(event[1]["worker"], Cause.MEMORY)

    def _hear_scheduler(self, event: tuple[float, dict[str, Any]]) -> None:
        if event[1].get("action") == "worker-ttl-timed-out":
            for worker in event[1]["workers"]:
                self._note_end(worker, Cause.FROZEN)

    def _note_end(self, worker: str, cause: Cause) -> None:
        with self._told:
            self._ended[worker] = cause
            self._told.notify_all()


def _shown(job: ShardJob) -> str:
    others = len(job.images) - 1
    return job.images[0].uri + (f" or the {others} images after it" if others else "")


def _as_error(answer: dict[str, Any]) -> FerflowError:
    """The error a worker told of, as the class it named."""
    kind = getattr(errors, answer["error"], FerflowError)
    return kind(answer["message"]) if issubclass(kind, FerflowError) else FerflowError(answer["message"])
