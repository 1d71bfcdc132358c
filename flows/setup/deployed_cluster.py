"""The cluster in the deployment of a run, and whether the run may use another one."""

from typing import Any

from prefect.client.orchestration import get_client
from prefect.runtime import deployment
from pydantic import TypeAdapter, ValidationError

from tasks.clusters.base import ClusterBackend
from tasks.clusters.form_field import ClusterSpec
from tasks.clusters.registry import Kind
from tasks.clusters.trust import refuse_new


def check_deployed(spec: ClusterBackend) -> None:
    """ClusterError where a run of a deployment names another cluster than the deployment. Commands may name any."""
    if spec.allowed_name() is None or deployment.id is None:
        return
    with get_client(sync_client=True) as client:
        parameters = client.read_deployment(deployment.id).parameters
    refuse_new(spec, _named_in(parameters))


def _named_in(parameters: dict[str, Any]) -> Kind | None:
    """None: there is none, or one of a kind that no longer exists."""
    params = parameters.get("params")
    try:
        found: Kind = TypeAdapter(ClusterSpec).validate_python(params["cluster"] if isinstance(params, dict) else None)
    except (KeyError, ValidationError):
        return None
    return found
