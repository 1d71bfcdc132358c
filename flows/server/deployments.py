"""The deployments that `ferflow up` serves: flows, schedules and parameters."""

from dataclasses import dataclass, field
from typing import Any, Final

from prefect import Flow
from pydantic import BaseModel, ValidationError

from flows.forget import ForgetParams, forget
from flows.freshness_check import NightCheckParams, night_check
from flows.housekeeping import HousekeepingParams, housekeeping
from flows.label import label_collection
from flows.label_params import LabelParams
from flows.relabel import relabel
from flows.relabel_params import RelabelParams
from flows.report import ReportParams, report
from flows.retrain import retrain
from flows.retrain_params import RetrainParams


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """Options of `ferflow up`. None: the deployments keep their values."""

    source: str | None
    to: str | None
    models: str | None
    timezone: str
    notify: str | None = field(default=None, repr=False)
    """Address of a webhook, which is a secret, or a notification block as TYPE/NAME."""


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """One deployment."""

    flow: Flow[..., Any]
    form: type[BaseModel]
    name: str
    cron: str | None
    """None: started by hand."""
    writes: bool
    """Whether it writes to a labels root: such runs run one at a time."""
    tags: tuple[str, ...] = ("ferflow",)


TIMETABLE: Final = (
    DeploymentSpec(label_collection, LabelParams, "nightly", "0 2 * * *", writes=True, tags=("ferflow", "labels")),
    DeploymentSpec(relabel, RelabelParams, "by-hand", None, writes=True, tags=("ferflow", "labels")),
    DeploymentSpec(forget, ForgetParams, "by-hand", None, writes=True, tags=("ferflow", "labels")),
    DeploymentSpec(housekeeping, HousekeepingParams, "weekly", "0 12 * * 0", writes=True, tags=("ferflow", "labels")),
    DeploymentSpec(night_check, NightCheckParams, "daily", "0 6 * * *", writes=False, tags=("ferflow", "labels")),
    DeploymentSpec(report, ReportParams, "daily", "30 6 * * *", writes=False, tags=("ferflow", "labels")),
    DeploymentSpec(retrain, RetrainParams, "weekly", "0 3 * * 6", writes=False, tags=("ferflow", "models")),
)
"""Cron is in the time zone of `ServeOptions`. Deployments are named FLOW/NAME: `label-collection/nightly`."""


def form_values(spec: DeploymentSpec, options: ServeOptions) -> dict[str, str]:
    """The form's values from the options."""
    page = f"{options.to.rstrip('/')}-report.html" if options.to else None  # beside the root, which has only tables
    fields: dict[type[BaseModel], dict[str, str | None]] = {
        LabelParams: {"source": options.source, "to": options.to, "model": options.models},
        RelabelParams: {"root": options.to, "model": options.models},
        ForgetParams: {"root": options.to},
        HousekeepingParams: {"root": options.to},
        NightCheckParams: {"root": options.to},
        ReportParams: {"root": options.to, "to": page},
        RetrainParams: {"models": options.models, "reviewed": options.to},
    }
    return {name: value for name, value in fields[spec.form].items() if value is not None}


def complete(form: type[BaseModel], values: dict[str, Any]) -> bool:
    """Whether a run can start with these values alone, as a schedule starts it."""
    try:
        form.model_validate(values)
    except ValidationError:
        return False
    return True
