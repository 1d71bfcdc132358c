"""The runs of each day together: images, faces, labels, and the work that they took. From manifests alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS
from fer_core.monitoring.runs import RunFindings
from fer_core.tables.schema import LABELED, NO_FACE, QUARANTINE
from fer_core.timing import STAGES

STATES: Final = ("with faces", "without a face", "not processed")
"""What became of images."""


@dataclass(frozen=True, slots=True)
class Nights:
    """N days with a run, oldest first."""

    days: tuple[str, ...]
    """`YYYY-MM-DD`"""
    images: NDArray[np.int64]
    """(N, 3) images by what became of them, `STATES`."""
    expressions: NDArray[np.int64]
    """(N, 8) faces by expression, in the order of `labels.EXPRESSIONS`."""
    review: NDArray[np.int64]
    """(N,) faces that were marked for review."""
    busy: NDArray[np.float64]
    """(N, S) seconds of workers by stage, `timing.STAGES`."""
    elapsed: NDArray[np.float64]
    """(N,) seconds from plan to commit, added up over the day's runs."""
    size: NDArray[np.int64]
    """(N,) bytes of the parts that were committed."""

    def __len__(self) -> int:
        return len(self.days)

    @property
    def processed(self) -> NDArray[np.int64]:
        """(N,) images."""
        return np.asarray(self.images.sum(axis=1), np.int64)

    @property
    def faces(self) -> NDArray[np.int64]:
        """(N,)"""
        return np.asarray(self.expressions.sum(axis=1), np.int64)

    @property
    def rate(self) -> NDArray[np.float64]:
        """(N,) images per second from plan to commit; NaN where no time passed."""
        return _shares(self.processed, self.elapsed)

    @property
    def review_share(self) -> NDArray[np.float64]:
        """(N,) of faces; NaN without any."""
        return _shares(self.review, self.faces)

    @property
    def cost(self) -> NDArray[np.float64]:
        """(S,) seconds of workers for a thousand images, by stage; NaN without images."""
        return _shares(1000 * self.busy.sum(axis=0), np.full(len(STAGES), self.processed.sum()))

    def last(self, count: int) -> Self:
        """The newest days."""
        rest = {name: getattr(self, name)[-count:] for name in self.__slots__}
        return type(self)(**rest)

    @classmethod
    def of(cls, runs: Sequence[RunFindings]) -> Self:
        """runs: any order."""
        days = tuple(sorted({run.manifest.run_date for run in runs}))
        at = {day: number for number, day in enumerate(days)}
        images, expressions = np.zeros((len(days), len(STATES)), np.int64), np.zeros((len(days), len(EXPRESSIONS)), np.int64)
        review, size = np.zeros(len(days), np.int64), np.zeros(len(days), np.int64)
        busy, elapsed = np.zeros((len(days), len(STAGES))), np.zeros(len(days))
        for run in runs:
            manifest, day = run.manifest, at[run.manifest.run_date]
            counts = manifest.statuses
            failed = sum(counts.get(status, 0) for status in QUARANTINE)
            images[day] += (counts.get(LABELED, 0), counts.get(NO_FACE, 0), failed)
            expressions[day] += run.profile.counts["expression"]
            review[day] += run.profile.counts["needs_review"][1]
            busy[day] += [manifest.seconds.get(stage, 0.0) for stage in STAGES]
            elapsed[day] += max(0.0, (_time(manifest.committed_at) - _time(manifest.started_at)).total_seconds())
            size[day] += sum(part.bytes for part in manifest.parts)
        return cls(days, images, expressions, review, busy, elapsed, size)


def _shares(parts: NDArray[np.generic], whole: NDArray[np.generic]) -> NDArray[np.float64]:
    some = np.asarray(whole, np.float64)
    return np.asarray(np.divide(np.asarray(parts, np.float64), some, out=np.full(len(some), np.nan), where=some > 0), np.float64)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
