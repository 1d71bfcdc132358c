"""What a worker's failure says of the images it was looking at, and what to run next. Pure decisions; `fan_out` carries them out."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from fer_core.errors import ClusterError
from fer_core.run import ShardJob

FAILURES_TO_QUARANTINE: Final = 2
"""Workers that a single image may kill while nothing else runs: one death may be the machine's, two are the image's."""
PASSED_OVER: Final = 2
"""How often a job that had not begun when its worker died is not to blame. A worker may die before its word that it began gets away."""
MIN_FAILURE_BUDGET: Final = 50
"""Workers that may die at unknown images: at the first death of a shard nobody knows yet which one it was."""
MAX_NAMED_FAILURES: Final = 200
"""Workers that may die at known images before a single image was labelled."""
FAILURES_PER_WORKER: Final = 3
"""All workers of a large cluster may go at once, more than once."""
IMAGES_PER_FAILURE: Final = 5
"""Images that have to be labelled for one more death. One in fifty may be poison."""


class FailureCause(Enum):
    """Why a worker ended, as far as anybody has told."""

    DIED = "the worker died each time it processed this image; either a library crashed, or the machine ran out of memory"
    MEMORY = "processing this image took more memory than a worker may use, each time"
    FROZEN = "the worker stopped answering each time it processed this image, and had to be killed"
    STUCK = "processing this image took too long, each time"


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """A worker that ended while it had a job."""

    cause: FailureCause
    began: bool = True
    """Whether the job is known to have begun; else it may have waited there."""
    image: str | None = None
    """URI of the image that it had turned to, as far as the worker told; None where it is `STUCK` at what is no image."""

    def reason(self, limit: float) -> str:
        """What the row of a single image says. limit: seconds an image may take."""
        return f"processing this image took longer than {limit:g} s, each time" if self.cause is FailureCause.STUCK else self.cause.value


def bisect(job: ShardJob) -> tuple[ShardJob, ...]:
    """The two halves of a job of several images, in its order, named `part-0` and `part-1`; a job of one image has none."""
    middle = len(job.images) // 2
    if not middle:
        return ()
    halves = job.images[:middle], job.images[middle:]
    return tuple(replace(job, part=job.part.half(number), images=images) for number, images in enumerate(halves))


def isolate(job: ShardJob, uri: str) -> tuple[ShardJob, ...]:
    """Pieces of a job in one of which an image stands alone, as `bisect` would end in them had it killed at every step, in order.

    Just the job when it is of one image, or not about that one.
    """
    if len(job.images) == 1 or all(image.uri != uri for image in job.images):
        return (job,)
    return tuple(piece for half in bisect(job) for piece in isolate(half, uri))


def next_jobs(job: ShardJob, failure: WorkerFailure, failures: int, limit: float) -> tuple[ShardJob, ...]:
    """What to run next, in order, after a job that ran with nothing beside it has killed its worker for the `failures`-th time.

    limit: seconds an image may take. ClusterError when workers fail, or stand still, even where they do not look at an image.
    """
    if job.crashed:
        raise ClusterError(f"workers die before they process any image: {job.part}")
    if failure.cause is FailureCause.STUCK and failure.image is None:
        if failures < FAILURES_TO_QUARANTINE:
            return (job,)
        raise ClusterError(f"workers hang before they process any image (for longer than {limit:g} s): {job.part}")
    if len(job.images) > 1:
        pieces = isolate(job, failure.image) if failure.image is not None else (job,)
        return pieces if len(pieces) > 1 else bisect(job)
    return (job if failures < FAILURES_TO_QUARANTINE else replace(job, crashed=True, reason=failure.reason(limit)),)


def failure_budget(labelled: int, workers: int) -> int:
    """Workers that may die of jobs at unknown images before the machine, the detector or the model is to blame rather than single images.

    labelled: images that were looked at and survived. workers: the most there were at a time.
    """
    return max(MIN_FAILURE_BUDGET, FAILURES_PER_WORKER * workers) + labelled // IMAGES_PER_FAILURE


def max_suspects(labelled: int, workers: int) -> int:
    """Jobs whose worker died that may wait to be tried alone: a third of as many as would end the run, since each may be an image's fault,
    and those that are on their way meanwhile, two a worker, may die as well.
    """
    return max(1, failure_budget(labelled, workers) // 3)


@dataclass(slots=True)
class FailureCount:
    """Workers that died in one go. Those that died of an image that is known never count against a run that has labelled any image."""

    unknown: int = 0
    named: int = 0

    @property
    def total(self) -> int:
        """All that still count for something."""
        return self.unknown + self.named

    def add(self, *, named: bool) -> None:
        """One more. named: whether it is known at which image."""
        self.named, self.unknown = self.named + named, self.unknown + (not named)

    def excuse(self) -> None:
        """An image was given up, which explains the death that made its shard a suspect."""
        self.unknown = max(0, self.unknown - 1)

    def exceeds_budget(self, labelled: int, workers: int) -> bool:
        """Whether to end the run. labelled, workers: see `failure_budget`."""
        return self.unknown > failure_budget(labelled, workers) or (not labelled and self.named > MAX_NAMED_FAILURES)
