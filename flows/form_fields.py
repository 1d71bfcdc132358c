"""Fields of several forms: addresses without secrets, and a run with a new id or one to resume."""

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from fer_core.errors import UsageError
from fer_core.min_face import DEFAULT as DEFAULT_MIN_FACE
from fer_core.min_face import MinFace
from fer_core.models.prior import parse_prior
from fer_core.storage.paths import is_run_id, plan_file
from fer_core.storage.store import open_store
from fer_core.storage.uri import holds_credentials
from tasks.clusters.base import ClusterBackend
from tasks.clusters.form_field import ClusterSpec


def _without_secrets(value: str) -> str:
    """Parameters are stored and shown by the orchestrator."""
    if holds_credentials(value):
        raise ValueError("credentials do not belong in an address; put them into the environment")
    return value


Address = Annotated[str, AfterValidator(_without_secrets)]
"""A path or URL without user name and password."""


def _known_prior(value: str) -> str:
    try:
        parse_prior(value)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return value


Prior = Annotated[str, AfterValidator(_known_prior)]
"""A prior's name, or eight shares with commas."""
_PRIOR_TEXT: Final = (
    "How often each expression is expected: training, tempered, balanced, or eight shares with commas. "
    "If empty, tempered; training for a model without a class prior."
)
PriorField = Annotated[Prior | None, Field(title="Class prior", description=_PRIOR_TEXT, examples=["tempered", "training", "balanced"])]
PrecisionField = Annotated[
    float | None,
    Field(
        ge=0.5,
        lt=1,
        title="Precision",
        description="Labels are marked for review so that the others are right this often on held-back faces, such as 0.9.",
    ),
]


def _smallest_face(value: str) -> str:
    try:
        return str(MinFace.parse(value))
    except UsageError as error:
        raise ValueError(str(error).removeprefix("the smallest face ")) from error


MinFaceField = Annotated[
    str,
    AfterValidator(_smallest_face),
    Field(
        title="Smallest face",
        description="Shorter side of its box: pixels from 10 on, or a share of the longest side, which means 20 pixels at least. The "
        "larger, the faster: large photographs are then searched, and JPEG decoded, at a part of their size.",
        examples=[DEFAULT_MIN_FACE, "20", "4%"],
    ),
]
ClusterField = Annotated[
    ClusterSpec,
    Field(
        title="Dask cluster",
        description="Where the work runs: processes or GPUs of this machine, an existing cluster, Slurm jobs, or pods.",
    ),
]
WorkersField = Annotated[
    int | None, Field(ge=1, le=1024, title="Workers", description="Processes on this machine; overrides the cluster field.")
]
"""Fields that mean the same wherever work is given to workers."""
RunId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$", max_length=100)]


class LabellingParams(BaseModel):
    """Parameters of a flow that labels on workers, and whose runs can be named and resumed."""

    if TYPE_CHECKING:  # declared by each form, in its own place among the fields
        cluster: ClusterBackend
        workers: int | None
        shard_size: int | None
        prior: str | None
        precision: float | None
        run_id: str | None
        resume: str | None

    @property
    def workers_wanted(self) -> ClusterBackend:
        """The cluster with the number of workers. UsageError where it does not go together."""
        return self.cluster.with_workers(self.workers)

    @model_validator(mode="after")
    def _one_run(self) -> Self:
        if self.run_id is not None and self.resume is not None:
            raise ValueError("a run has either a new id or one to resume")
        return self

    def named(self) -> Self:
        """The same with an id for the run, made from the time where none was given."""
        return self if self.resume or self.run_id else self.model_copy(update={"run_id": new_run_id()})

    def named_after(self, root: str, flow_run_id: str, scheduled: datetime, attempt: int) -> Self:
        """The same with an id for the run, always the same for one flow run: what a retry of it finds begun, it resumes.

        root: of the labels. attempt: from 1.
        """
        if self.resume is not None:
            return self
        run_id = self.run_id or new_run_id(scheduled, flow_run_id)
        begun = attempt > 1 and open_store(root).exists(plan_file(run_id))
        return self.model_copy(update={"resume": run_id, "run_id": None} if begun else {"run_id": run_id})


def new_run_id(now: datetime | None = None, token: str | None = None) -> str:
    """`run-20261124-101500-ab12`: sorts by time, and two that start in the same second differ, at random or by the end of a hex `token`."""
    run_id = f"run-{now or datetime.now(UTC):%Y%m%d-%H%M%S}-{(token or secrets.token_hex(2))[-4:]}"
    assert is_run_id(run_id)
    return run_id
