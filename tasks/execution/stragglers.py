"""Which job to send a second time while it still runs, because its worker takes much longer than others take. A pure decision.

Doing a shard twice does no harm: parts are named by their content, a receipt is written last, and whichever answer comes first counts. So a
machine that swaps, a disk that is about to fail or a neighbour that takes the cores costs the end of a run a few seconds, not the time it
takes there (backup tasks: Dean and Ghemawat, MapReduce, OSDI 2004).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

REPEAT_AFTER: Final = 2.0
"""Times as long as jobs of that cost took others."""
LEAST_SECONDS: Final = 10.0
"""Sooner than that nothing is done twice: loading a model on a busy machine takes as long."""
LEAST_ENDED: Final = 3
"""Jobs that must have ended before any can be said to be late."""


@dataclass(frozen=True, slots=True)
class Running:
    """One job on its way, at one worker only."""

    key: str
    cost: float
    """Expected seconds by some measure, the same for all jobs."""
    seconds: float
    """Since it began, or since it was sent where nobody has told that it began."""


def straggler(running: Iterable[Running], paces: Sequence[float]) -> str | None:
    """Key of the job that is latest by its own measure; None where none is late.

    paces: seconds for a unit of cost, of jobs that have ended.
    """
    if len(paces) < LEAST_ENDED:
        return None
    usual = median(paces)
    late = [(one.seconds / max(REPEAT_AFTER * usual * one.cost, LEAST_SECONDS), one.key) for one in running]
    lateness, key = max(late, default=(0.0, ""))
    return key if lateness > 1.0 else None
