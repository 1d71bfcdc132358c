"""The event of a run of which too many images were quarantined."""

from typing import Final

from prefect import get_run_logger
from prefect.events import emit_event

from fer_core.errors import FerflowError
from fer_core.tables.schema import QUARANTINE
from tasks.artifacts.event_resource import resource_of
from tasks.artifacts.label import Summary

EVENT: Final = "fer.quarantine.exceeded"


class QuarantineError(FerflowError):
    """A larger share of the images was quarantined than the bound allows; the run is committed nevertheless."""

    def __init__(self, sentence: str, summary: Summary) -> None:
        super().__init__(sentence)
        self.summary = summary
        """Of the committed run."""


def notify_quarantine(summary: Summary, bound: float) -> bool:
    """Emit `fer.quarantine.exceeded` when more than `bound` percent of the images were quarantined. Whether it was emitted.

    Inside a flow. Names no image. The share is `Summary.quarantined_percent`.
    """
    if summary.quarantined_percent <= bound:
        return False
    manifest = summary.manifest
    root = manifest.run_config().root
    statuses = {status: manifest.statuses[status] for status in QUARANTINE if manifest.statuses.get(status)}
    payload = {
        "run_id": manifest.run_id,
        "root": root,
        "percent": round(summary.quarantined_percent, 1),
        "bound": bound,
        "images": summary.images,
        "listed": manifest.listed,
        "quarantined": sum(statuses.values()),
        "failed_again": manifest.failed_again,
        "causes": ", ".join(f"{status}: {count}" for status, count in statuses.items()),
    }
    resource = {"prefect.resource.id": resource_of(root), "prefect.resource.name": root, "fer.run": manifest.run_id}
    event = emit_event(EVENT, resource=resource, payload=payload)
    get_run_logger().warning(
        "%.1f %% of the images were quarantined, more than %g %%%s",
        summary.quarantined_percent,
        bound,
        "" if event else ", and no event could be emitted",
    )
    return event is not None
