"""What workers, nannies and the scheduler report while jobs run: which jobs began, at which image they are, why a worker ended."""

import threading
import time
from typing import Any, Final
from uuid import uuid4

from distributed import Client

from tasks.execution.poison_isolation import FailureCause, WorkerFailure

_MEMORY, _SCHEDULER = "worker-restart-memory", "scheduler"
"""Dask's own topics: a nanny has ended its worker because of its memory, the scheduler has removed a worker that does not answer."""


class WorkerEvents:
    """Events of workers, nannies and the scheduler. Written by the client's thread, read by another."""

    def __init__(self, client: Client) -> None:
        self.topic: Final = f"ferflow-{uuid4().hex}"
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
        if self._client.status == "running":
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
