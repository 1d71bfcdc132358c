"""The automations that send notifications: a run failed, too many images were quarantined, there was no run.

python -P -m flows.server.notifications slack-webhook/team      with a notification block that is there already

`deployments/automations/` holds the same for `prefect automation create --from-file`.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.events.actions import SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from fer_core.errors import OrchestrationError
from flows.output import print_line, print_result
from flows.server.automations import upsert_automation
from tasks.artifacts.event_resource import resource_of
from tasks.freshness_check import EVENT as MISSING
from tasks.quarantine import EVENT as QUARANTINED

TAG: Final = "labels"
"""Of the deployments whose failure is reported: labels depend on them, but not on a retraining."""

RUN_FAILED: Final = """\
Run {{ flow_run.name }} of {{ flow.name }}/{{ deployment.name }}, due {{ (flow_run.expected_start_time|string)[:16] }} UTC, ended as \
{{ flow_run.state.name }}.
Where to look: {{ flow_run|ui_url }} (the end of its log says why)
What to do: correct the cause that the log names, then press Retry on that page; finished shards are not repeated. Otherwise the next \
scheduled run labels what is missing. Committed runs are unchanged. docs/guides/operations.md lists the likeliest causes.
"""
"""Without the run's own last message: it may name a file."""

TOO_MANY: Final = """\
Run {{ event.payload.run_id }} processed {{ event.payload.images }} images and quarantined {{ event.payload.quarantined }} of them \
({{ event.payload.causes }}); the bound is {{ "%g"|format(event.payload.bound) }} % of the {{ event.payload.listed }} listed, \
without {{ event.payload.failed_again }} that failed before. All others are labelled and committed.
Where to look: {{ flow_run|ui_url }} (artifact label-summary); which images, and why: columns status and reason of \
{{ event.payload.root }}/images where run_id is {{ event.payload.run_id }}
What to do: many `missing` point to the storage or permissions, and the next run tries them again; many `unreadable` or `unsupported` \
point to a failed upload; many `crashed` to too little memory. A broken image is read again when it changes.
"""

NO_RUN: Final = """\
No run was committed in the last {{ "%g"|format(event.payload.hours) }} hours in {{ event.payload.root }}, and none is running. \
{% if event.payload.run_id %}The last one was {{ event.payload.run_id }}, committed {{ event.payload.committed_at }}.\
{% else %}No run was ever committed.{% endif %}
Where to look: {{ flow_run|ui_url }} is the check; the missing run belongs to the deployment label-collection/nightly
What to do: check that its schedule is enabled and its form complete, and whether a run is Late (no worker, or another run before it) or \
has failed; then start it with Run. It labels all that is missing.
"""


def automations(block: UUID) -> tuple[AutomationCore, ...]:
    """All of them, with the id of the notification block that they use."""
    ended_badly = {f"prefect.flow-run.{state}" for state in ("Failed", "TimedOut", "Crashed")}
    run = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
    tagged = ResourceSpecification({"prefect.resource.id": f"prefect.tag.{TAG}", "prefect.resource.role": "tag"})
    root = ResourceSpecification({"prefect.resource.id": resource_of("*")})
    return (
        AutomationCore(
            name="tell of a failed run",
            description="A scheduled run that labels depend on has failed or crashed.",
            trigger=_at_once(ended_badly, run, tagged),
            actions=[_message(block, "ferflow: {{ flow.name }}/{{ deployment.name }} {{ flow_run.state.name|lower }}", RUN_FAILED)],
        ),
        AutomationCore(
            name="tell of quarantined images",
            description="A larger share of a run's images than its form allows was quarantined.",
            trigger=_at_once({QUARANTINED}, root),
            actions=[_message(block, "ferflow: {{ event.payload.percent }} % of the images quarantined", TOO_MANY)],
        ),
        AutomationCore(
            name="tell of a missing night",
            description="There was no run by the morning; detected by the deployment night-check/daily.",
            trigger=_at_once({MISSING}, root),
            actions=[_message(block, "ferflow: no run last night", NO_RUN)],
        ),
    )


async def install(block: UUID) -> None:
    """Install all of them, beside existing ones."""
    async with get_client() as client:
        for made in automations(block):
            await upsert_automation(client, made)


async def block_named(name: str) -> UUID:
    """The id of the notification block TYPE/NAME. OrchestrationError when there is none."""
    kind, _, called = name.partition("/")
    async with get_client() as client:
        try:
            found = await client.read_block_document_by_name(called, kind, include_secrets=False)
        except ObjectNotFound as error:
            raise OrchestrationError(f"there is no block {name}: create one in the UI, under Blocks") from error
    if found.block_schema is None or "notify" not in found.block_schema.capabilities:
        raise OrchestrationError(f"block {name} is not for notifications")
    return found.id


def _at_once(events: set[str], match: ResourceSpecification, related: ResourceSpecification | None = None) -> EventTrigger:
    return EventTrigger(
        expect=events,
        match=match,
        match_related=related or ResourceSpecification({}),
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def _message(block: UUID, subject: str, body: str) -> SendNotification:
    return SendNotification(block_document_id=block, subject=subject, body=body.rstrip("\n"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Install them, or print the reason of a failure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("block", metavar="TYPE/NAME", help="notification block: slack-webhook/team")
    args = parser.parse_args(arguments)
    try:
        block = asyncio.run(block_named(args.block))
        asyncio.run(install(block))
    except OrchestrationError as error:
        print_line(str(error))
        return 1
    print_result(False, {}, [f"automation {made.name!r} notifies {args.block}" for made in automations(block)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
