"""Which job to submit a second time while it still runs, because its worker takes much longer than the others. A pure decision.

Duplicates are safe: parts are named by their content, a receipt is written last, and the first result counts. So a machine that swaps, a
failing disk or another load on the cores delays the end of a run by a few seconds, not by the time that the job takes there (backup tasks:
Dean and Ghemawat, MapReduce, OSDI 2004).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

REPEAT_AFTER: Final = 2.0
"""A job is late after so many times the usual seconds for its cost."""
LEAST_SECONDS: Final = 10.0
"""No job is late before: loading a model on a busy machine takes as long."""
LEAST_ENDED: Final = 3
"""Jobs that must have ended before any can be late."""


@dataclass(frozen=True, slots=True)
class Running:
    """One job in flight, at one worker only."""

    key: str
    cost: float
    """Expected seconds by some measure, the same for all jobs."""
    seconds: float
    """Since it began, or since it was submitted where no report of its begin has arrived."""


def straggler(running: Iterable[Running], paces: Sequence[float]) -> str | None:
    """Key of the job that is latest in relation to its cost; None where none is late.

    paces: seconds for a unit of cost, of jobs that have ended.
    """
    if len(paces) < LEAST_ENDED:
        return None
    usual = median(paces)
    late = [(one.seconds / max(REPEAT_AFTER * usual * one.cost, LEAST_SECONDS), one.key) for one in running]
    lateness, key = max(late, default=(0.0, ""))
    return key if lateness > 1.0 else None
