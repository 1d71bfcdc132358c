"""The configuration of a relabelling: the pipeline of earlier runs with the new model."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fer_core.planning.time_zone import day
from fer_core.relabel.survey import SOURCE, Survey
from fer_core.run.configuration import Answering, RunConfig
from fer_core.storage.store import Store


@dataclass(frozen=True, slots=True)
class RelabelOptions:
    """Options of a relabelling."""

    run_id: str
    model: str
    """Model name or folder that workers load."""
    model_name: str
    answering: Answering
    purpose: str = ""
    """Empty: that of the newest run of the same base pipeline."""
    shard_size: int = 0
    device: str = "auto"
    timezone: str = "UTC"
    """Of the run's date."""


def relabel_config(store: Store, found: Survey, wanted: RelabelOptions, now: datetime | None = None) -> RunConfig:
    """The run for these options, planned now, with the base pipeline of most images.

    Rows keep the base pipeline of their earlier result. Each gets the pipeline digest that labelling the photograph with it and the new
    model would write, so the next run over the photographs counts them as processed.
    """
    now = now or datetime.now(UTC)
    look = found.shared_pipeline()
    return replace(
        look.answered_by(wanted.answering),
        run_id=wanted.run_id,
        run_date=day(now, wanted.timezone),
        timezone=wanted.timezone,
        source=SOURCE,
        root=store.url(),
        model=wanted.model,
        model_name=wanted.model_name,
        purpose=wanted.purpose or look.purpose,
        keep_crops=False,
        shard_size=wanted.shard_size,
        device=wanted.device,
        started_us=int(now.timestamp() * 1e6),
    )
