"""What the flows that label take from their Prefect run: its name, the id of what they label, and the cluster its deployment allows."""

from collections.abc import Callable
from typing import TypeVar

from prefect.runtime import flow_run

from flows.form_fields import LabellingParams
from flows.setup.deployed_cluster import check_deployed

P = TypeVar("P", bound=LabellingParams)


def run_name(otherwise: str) -> Callable[[], str]:
    """Names a flow run by the id in its parameters. otherwise: its name where they have none."""

    def name() -> str:
        params = flow_run.parameters["params"]
        given = params if isinstance(params, dict) else params.model_dump()
        return given.get("resume") or given.get("run_id") or otherwise

    return name


def named_run(params: P, root: str) -> P:
    """The parameters with an id for the run. root: of the labels. ClusterError where its deployment does not allow the cluster."""
    check_deployed(params.workers_wanted)
    return params.named_after(root, flow_run.id, flow_run.scheduled_start_time, flow_run.run_count)
