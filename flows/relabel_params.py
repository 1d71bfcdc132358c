"""Parameters of the flow `relabel`."""

from typing import Literal

from pydantic import ConfigDict, Field

from flows.form_fields import Address, ClusterField, LabellingParams, PrecisionField, PriorField, RunId, WorkersField
from tasks.clusters.local import LocalCluster


class RelabelParams(LabellingParams):
    """One relabelling: labels root and model."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)  # a refused address may hold a secret

    root: Address = Field(min_length=1, title="Labels root", description="Folder or s3:// prefix of the tables, with crops kept.")
    model: Address = Field(
        min_length=1,
        title="Expression model",
        description="Name of a shipped model, a model folder, or a folder of models whose champion is used.",
        examples=["tiny", "/models"],
    )
    prior: PriorField = None
    precision: PrecisionField = None
    cluster: ClusterField = LocalCluster()
    workers: WorkersField = None
    shard_size: int | None = Field(
        None, ge=1, le=1_000_000, title="Images a shard", description="If empty, a few shards a worker, of 1,000 images at most."
    )
    purpose: str = Field(
        "",
        max_length=500,
        title="Purpose",
        description="Why these faces are labelled. Kept with the run; if empty, as in the earlier run.",
    )
    run_id: RunId | None = Field(None, title="Run id", description="Lower-case letters, digits, hyphens. Made from the time if empty.")
    resume: RunId | None = Field(None, title="Resume run", description="Id of an interrupted relabelling to finish; the same options.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", title="Device", description="Where the network runs on the workers.")
