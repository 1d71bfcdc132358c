"""The automation that starts `retrain` when a labels root has drifted.

python -P -m flows.server.drift_automation retrain/weekly              for every root
python -P -m flows.server.drift_automation retrain/weekly --root /data/labels --cooldown 86400
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events.actions import RunDeployment
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from fer_core.errors import OrchestrationError
from fer_core.storage.store import open_store
from flows.output import print_line, print_result
from tasks.artifacts.event_resource import resource_of
from tasks.drift import EVENT

NAME: Final = "retrain on drift"


def retrain_on_drift(deployment_id: UUID, root: str | None = None, cooldown: float = 0) -> AutomationCore:
    """The definition. root: labels root, any if None. cooldown: seconds in which further events start nothing; the flow `report` emits one
    event a run.
    """
    match = resource_of(open_store(root).url()) if root is not None else resource_of("*")
    return AutomationCore(
        name=NAME,
        description="Starts a retraining when a run has drifted from the reference of its model.",
        trigger=EventTrigger(
            expect={EVENT},
            match={"prefect.resource.id": match},
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(seconds=cooldown),
        ),
        actions=[RunDeployment(source="selected", deployment_id=deployment_id, parameters=None, job_variables=None)],
    )


def install(deployment: str, root: str | None = None, cooldown: float = 0) -> AutomationCore:
    """Install the automation for a deployment named `FLOW/NAME`, replacing an earlier one. OrchestrationError when there is no such
    deployment.
    """
    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployment_by_name(deployment)
        except (ObjectNotFound, ValueError) as error:
            raise OrchestrationError(f"there is no deployment {deployment}: see deployments/prefect.yaml") from error
        for earlier in client.read_automations_by_name(NAME):
            client.delete_automation(earlier.id)
        made = retrain_on_drift(found.id, root, cooldown)
        client.create_automation(made)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Install it, or print the reason of a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deployment", help="deployment of the flow `retrain`: retrain/NAME")
    parser.add_argument("--root", help="labels root (default: any)")
    parser.add_argument("--cooldown", type=float, default=0.0, help="seconds in which further events start nothing (default: 0)")
    args = parser.parse_args(arguments)
    try:
        made = install(args.deployment, args.root, args.cooldown)
    except OrchestrationError as error:
        print_line(str(error))
        return 1
    print_result(False, {}, f"automation {made.name!r} starts {args.deployment} on {EVENT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
