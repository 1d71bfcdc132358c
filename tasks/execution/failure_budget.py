"""How many worker failures a run may have: those of single images are few, those of the machine, the detector or the model many."""

from dataclasses import dataclass
from typing import Final

from fer_core.errors import ClusterError
from fer_core.run.receipts import ShardReceipt
from fer_core.run.shard_job import ShardJob


@dataclass(frozen=True, slots=True)
class FailureBudget:
    """Numbers that bound worker failures."""

    least: int = 50
    """Worker failures at unknown images: at the first failure of a shard, the image is not known yet."""
    most_named: int = 200
    """Worker failures at known images before a single image was labelled."""
    per_worker: int = 3
    """All workers of a large cluster may fail at once, more than once."""
    images_per_failure: int = 5
    """Labelled images for each further failure. One image in fifty may kill its worker."""


FAILURE_BUDGET: Final = FailureBudget()


@dataclass(slots=True)
class FailureCount:
    """Worker failures of one run. Those at a known image never count against a run that has labelled any image.

    `workers` of the methods: the most there were at a time.
    """

    budget: FailureBudget = FAILURE_BUDGET
    labelled: int = 0
    """Images that were processed without a failure."""
    unknown: int = 0
    named: int = 0

    @property
    def total(self) -> int:
        """All that still count."""
        return self.unknown + self.named

    def add(self, *, named: bool) -> None:
        """Count one more. named: whether the image is known."""
        self.named, self.unknown = self.named + named, self.unknown + (not named)

    def add_receipt(self, job: ShardJob, receipt: ShardReceipt) -> None:
        """Count labelled images. One that was quarantined explains the failure that made its shard a suspect."""
        if job.crashed:
            self.unknown = max(0, self.unknown - 1)
        else:
            self.labelled += sum(receipt.statuses.values())

    def max_unknown(self, workers: int) -> int:
        """Failures at unknown images up to which the cause is single images; beyond, it is the machine, the detector or the model."""
        return max(self.budget.least, self.budget.per_worker * workers) + self.labelled // self.budget.images_per_failure

    def max_suspects(self, workers: int) -> int:
        """Jobs that may wait to run alone: a third of the failures that end the run, because an image may be the cause of each, and the
        jobs in flight meanwhile, two a worker, may fail as well.
        """
        return max(1, self.max_unknown(workers) // 3)

    def exceeds_budget(self, workers: int) -> bool:
        """Whether to end the run."""
        return self.unknown > self.max_unknown(workers) or (not self.labelled and self.named > self.budget.most_named)

    def error(self, last: ShardJob) -> ClusterError:
        """What ends the run. last: the job of the last failure."""
        others = len(last.images) - 1
        shown = last.images[0].uri + (f" or the {others} images after it" if others else "")
        return ClusterError(
            f"{self.total} workers died while {self.labelled} images were labelled: the cause is the machine, "
            f"the detector or the model rather than single images (the last failure was at {shown})"
        )
