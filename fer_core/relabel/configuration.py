"""The configuration of a relabelling: the look of earlier runs, the model of now."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from fer_core.relabel.survey import SOURCE, Survey
from fer_core.run import RunConfig
from fer_core.storage.store import Store


@dataclass(frozen=True, slots=True)
class RelabelOptions:
    """What a relabelling is asked to do."""

    run_id: str
    model: str
    """Model name or folder that workers load."""
    model_name: str
    model_digest: str
    purpose: str = ""
    """Empty: that of the newest run of the same look."""
    shard_size: int = 0
    device: str = "auto"


def relabel_config(store: Store, found: Survey, wanted: RelabelOptions, now: datetime | None = None) -> RunConfig:
    """The run that does what is wanted, planned now, under the look of most images.

    Rows are written under the look of their own answer, each with the pipeline digest that labelling the photograph with this look and the
    new model would write, so that the next run over the photographs takes them for answered.
    """
    now = now or datetime.now(UTC)
    look = found.shared_pipeline()
    return replace(
        look,
        run_id=wanted.run_id,
        run_date=f"{now:%Y-%m-%d}",
        source=SOURCE,
        root=store.url(),
        model=wanted.model,
        model_name=wanted.model_name,
        model_digest=wanted.model_digest,
        purpose=wanted.purpose or look.purpose,
        keep_crops=False,
        shard_size=wanted.shard_size,
        device=wanted.device,
        started_us=int(now.timestamp() * 1e6),
    )
