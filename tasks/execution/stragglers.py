"""Jobs that still run although their worker takes much longer than the others: they are submitted a second time, to an idle worker.

Duplicates are safe: parts are named by their content, a receipt is written last, and the first result counts. So a machine that swaps, a
failing disk or another load on the cores delays the end of a run by a few seconds, not by the time that the job takes there (backup tasks:
Dean and Ghemawat, MapReduce, OSDI 2004).
"""

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from fer_core.run.part_name import PartName
from tasks.execution.in_flight import InFlight, Submission
from tasks.execution.worker_events import WorkerEvents
from tasks.execution.worker_pool import Capacity

PACES_KEPT: Final = 500
"""Of the jobs that ended last, as the measure of lateness."""


@dataclass(frozen=True, slots=True)
class StragglerRule:
    """When a job is late."""

    repeat_after: float = 2.0
    """After so many times the usual seconds for its cost."""
    least_seconds: float = 10.0
    """No job is late before: loading a model on a busy machine takes as long."""
    least_ended: int = 3
    """Jobs that must have ended before any can be late."""


STRAGGLER_RULE: Final = StragglerRule()


@dataclass(frozen=True, slots=True)
class Running:
    """One job in flight, at one worker only."""

    key: str
    cost: float
    """Expected seconds by some measure, the same for all jobs."""
    seconds: float
    """Since it began, or since it was submitted where no report of its begin has arrived."""


def straggler(running: Iterable[Running], paces: Sequence[float], rule: StragglerRule = STRAGGLER_RULE) -> str | None:
    """Key of the job that is latest in relation to its cost; None where none is late. A pure decision.

    paces: seconds for a unit of cost, of jobs that have ended.
    """
    if len(paces) < rule.least_ended:
        return None
    usual = median(paces)
    late = [(one.seconds / max(rule.repeat_after * usual * one.cost, rule.least_seconds), one.key) for one in running]
    lateness, key = max(late, default=(0.0, ""))
    return key if lateness > 1.0 else None


class Duplicates:
    """Second submissions of stragglers, one a job at most."""

    def __init__(self, in_flight: InFlight, capacity: Capacity, events: WorkerEvents, rule: StragglerRule) -> None:
        self._in_flight, self._capacity, self._events, self._rule = in_flight, capacity, events, rule
        self._paces: deque[float] = deque(maxlen=PACES_KEPT)
        self._repeated: set[PartName] = set()
        self._checked_at = 0.0

    def submit(self, interval: float) -> None:
        """Submit the latest of the late jobs once more for each idle worker. interval: seconds since the last check, else do nothing."""
        if time.monotonic() - self._checked_at < interval:
            return
        self._checked_at = time.monotonic()
        idle = self._capacity.threads() - len(self._in_flight)
        alone = {sent.key: sent for sent in self._in_flight if sent.job.part not in self._repeated and sent.cost > 0}
        for _ in range(idle):
            running = [Running(key, sent.cost, self._checked_at - self._began_at(sent)) for key, sent in alone.items()]
            late = straggler(running, self._paces, self._rule)
            if late is None:
                return
            job = alone.pop(late).job
            self._repeated.add(job.part)
            self._in_flight.submit(job)

    def of(self, sent: Submission) -> list[str]:
        """Keys of the same job in flight."""
        part = sent.job.part
        return [other.key for other in self._in_flight if other.job.part == part] if part in self._repeated else []

    def note_pace(self, sent: Submission) -> None:
        """Seconds of a job that has just ended, in relation to its cost."""
        if sent.cost > 0:
            self._paces.append((time.monotonic() - self._began_at(sent)) / sent.cost)

    def _began_at(self, sent: Submission) -> float:
        return self._events.began_at(sent.key) or sent.sent_at
