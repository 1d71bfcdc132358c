"""Flow `night-check`: in the morning, was there a run at all?

An automation alone cannot tell: a proactive trigger counts its hours from the last event or from when the server was started, not from
6 a.m., and starts anew with each. So a flow with a schedule of its own looks into the labels root, and its event is what is listened for.
"""

from dataclasses import asdict
from typing import Any

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from flows.form_fields import Address
from tasks.freshness_check import find_last_run, notify_missing_run


class NightCheckParams(BaseModel):
    """Which labels root, and how far back a run counts as last night's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    root: Address = Field(min_length=1, title="Labels root", description="Folder or s3:// prefix of the tables.")
    hours: float = Field(
        12, gt=0, le=8760, title="Hours", description="The check passes if a run was committed within so many hours, or is running."
    )


@flow(name="night-check", persist_result=False, result_serializer="json")  # a retry writes down what failed
def night_check(params: NightCheckParams) -> dict[str, Any]:
    """Emit `fer.night.missing` when no run was committed in the last hours and none is at work."""
    night = find_last_run(params.root, params.hours)
    if night.missing:
        notify_missing_run(night)
    return asdict(night)
