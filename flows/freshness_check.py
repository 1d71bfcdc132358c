"""Flow `night-check`: checks in the morning whether there was a run.

An automation alone is not enough: a proactive trigger counts its hours from the last event or from the start of the server, not from 6
a.m., and starts again with each. So a flow with its own schedule reads the labels root, and an automation reacts to its event.
"""

from dataclasses import asdict
from typing import Any

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from flows.form_fields import Address
from tasks.freshness_check import find_last_run, notify_missing_run


class NightCheckParams(BaseModel):
    """The labels root, and the hours within which a run counts as last night's."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    root: Address = Field(min_length=1, title="Labels root", description="Folder or s3:// prefix of the tables.")
    hours: float = Field(
        12, gt=0, le=8760, title="Hours", description="The check passes if a run was committed within so many hours, or is running."
    )


@flow(name="night-check", persist_result=False, result_serializer="json")  # a retry writes down what failed
def night_check(params: NightCheckParams) -> dict[str, Any]:
    """Emit `fer.night.missing` when no run was committed in the last hours and none is running."""
    night = find_last_run(params.root, params.hours)
    if night.missing:
        notify_missing_run(night)
    return asdict(night)
