"""Flow `report`: the runs of a root, and the drift of the newest one from the reference of its model."""

from typing import Any

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from fer_core.monitoring.disclosure import Disclosure
from flows.form_fields import Address, RunId
from tasks.drift import judge_runs, notify_drift, write_page


class ReportParams(BaseModel):
    """The labels root, and the file of the page."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    root: Address = Field(min_length=1, title="Labels root", description="Folder or s3:// prefix of the tables.")
    to: Address = Field(
        min_length=1,
        title="Report",
        description="File for the HTML page, outside of the labels root; replaced each time.",
        examples=["/data/report.html", "s3://bucket/report.html"],
    )
    reference_run: RunId | None = Field(
        None,
        title="Reference run",
        description="Run that others under its model are compared with from now on; empty: as before, at first a model's first large run.",
    )
    with_names: bool = Field(
        False, title="With names", description="Name folders, and images as examples. The page has to be protected like the images."
    )
    with_faces: bool = Field(
        False,
        title="With faces",
        description="Show faces as examples, where crops were kept and the policy of the root allows them. Faces are biometric data.",
    )


@flow(name="report", persist_result=False, result_serializer="json")  # a retry writes down what failed
def report(params: ReportParams) -> dict[str, Any]:
    """Compare the runs of a root with their reference, emit `fer.drift.detected` where the newest has drifted, write the page."""
    found = judge_runs(params.root, params.reference_run)
    told = notify_drift(found)
    file = write_page(found, params.to, Disclosure(params.with_names, params.with_faces))
    return {**found.to_json(), "file": file, "told": told}
