"""What follows from a worker failure for the images of its job, and what to run next. Pure decisions; `fan_out` carries them out."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from fer_core.errors import ClusterError
from fer_core.run.shard_job import ShardJob

FAILURES_TO_QUARANTINE: Final = 2
"""Workers that a single image may kill while nothing else runs: the first failure may be the machine's, the second is the image's."""
PASSED_OVER: Final = 2
"""Times that a job without a report of its begin is not counted as the cause. A worker may die before that report is sent."""


class FailureCause(Enum):
    """Why a worker ended, as far as it was reported."""

    DIED = "the worker died each time it processed this image; either a library crashed, or the machine ran out of memory"
    MEMORY = "processing this image took more memory than a worker may use, each time"
    FROZEN = "the worker stopped answering each time it processed this image, and had to be killed"
    STUCK = "processing this image took too long, each time"


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """A worker that ended while it had a job."""

    cause: FailureCause
    began: bool = True
    """Whether the job is known to have begun; else it may have been queued there."""
    image: str | None = None
    """URI of the image that it was processing, as far as the worker reported it; None where it is `STUCK` at another step."""

    def reason(self, limit: float) -> str:
        """Reason for the row of a single image. limit: seconds an image may take."""
        return f"processing this image took longer than {limit:g} s, each time" if self.cause is FailureCause.STUCK else self.cause.value


def bisect(job: ShardJob) -> tuple[ShardJob, ...]:
    """The two halves of a job of several images, in its order, named `part-0` and `part-1`; a job of one image has none."""
    middle = len(job.images) // 2
    if not middle:
        return ()
    halves = job.images[:middle], job.images[middle:]
    return tuple(replace(job, part=job.part.half(number), images=images) for number, images in enumerate(halves))


def isolate(job: ShardJob, uri: str) -> tuple[ShardJob, ...]:
    """Pieces of a job, in order, one of which has the image alone: what repeated `bisect` gives if the image kills at every step.

    The job itself when it has one image, or not that one.
    """
    if len(job.images) == 1 or all(image.uri != uri for image in job.images):
        return (job,)
    return tuple(piece for half in bisect(job) for piece in isolate(half, uri))


def next_jobs(job: ShardJob, failure: WorkerFailure, failures: int, limit: float) -> tuple[ShardJob, ...]:
    """Jobs to run next, in order, after a job that ran alone has killed its worker for the `failures`-th time.

    limit: seconds an image may take. ClusterError when workers fail, or hang, although they process no image.
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
