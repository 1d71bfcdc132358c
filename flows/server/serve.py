"""Serves the deployments of the timetable: `python -m flows.server.serve FD` with `ServeOptions` as JSON on standard input.

A process of `ferflow up`, which ends it with everything it has started. It writes one line of JSON to the file descriptor: `served` once it
serves, or the `error` that prevents it.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final
from uuid import UUID

from prefect import State
from prefect._internal.versioning import VersionType
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.states import AwaitingRetry, Cancelled, Crashed
from prefect.types.entrypoint import EntrypointType

from flows.retrain_params import RetrainParams
from flows.server.automations import upsert_automation
from flows.server.deployments import TIMETABLE, DeploymentSpec, ServeOptions, complete, form_values
from flows.server.drift_automation import retrain_on_drift
from flows.server.notifications import block_named, install
from flows.server.webhook import migrate_webhook_block, save_webhook

ATTEMPTS: Final = 3
"""Most starts of a run during which `ferflow up` ended: the run may be the cause."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A run that was in progress when an earlier `ferflow up` ended."""

    attempts: int
    cancelling: bool


def recovery_state(run: Interrupted) -> State[Any]:
    """Its next state. No process runs it any more: it is resumed, unless it was being cancelled or was started too often."""
    if run.cancelling:
        return Cancelled(message="cancelled while ferflow up was not running")
    if run.attempts >= ATTEMPTS:
        return Crashed(message=f"ferflow up ended {run.attempts} times during this run; it is not restarted")
    return AwaitingRetry(message="ferflow up ended during this run, which is resumed")


async def serve(options: ServeOptions, out: int) -> None:
    """Until the process is killed."""
    # The limit of a runner applies across deployments: runs that write to labels roots run one by one, and a dead run keeps no slot.
    writers, others = Runner("writers", limit=1, pause_on_shutdown=False), Runner("others", limit=4, pause_on_shutdown=False)
    ids = {}
    for spec in TIMETABLE:
        runner = writers if spec.writes else others
        ids[spec] = await runner.aadd_deployment(await deployment(spec, options))
    await automate(options, ids)
    await recover_interrupted_runs(list(ids.values()))
    write_status(out, {"served": [_known_as(spec) for spec in TIMETABLE]})
    await asyncio.gather(writers.start(), others.start())


async def deployment(spec: DeploymentSpec, options: ServeOptions) -> RunnerDeployment:
    """Its definition. Changes made in the UI stay: the form's other fields, and a schedule that was switched off."""
    kept = await _kept(_known_as(spec))
    fields = {name: value for name, value in kept.items() if name in spec.form.model_fields}  # a release may drop a field
    values = {**fields, **form_values(spec, options)}
    schedules = []
    if spec.cron is not None and complete(spec.form, values):
        # `active` is left out: on for a new schedule, as it was for one that is there
        schedules.append(DeploymentScheduleCreate(schedule=CronSchedule(cron=spec.cron, timezone=options.timezone), slug=spec.name))
    return RunnerDeployment.from_flow(
        spec.flow,
        spec.name,
        schedules=schedules,
        parameters={"params": values},
        tags=list(spec.tags),
        version=_version(),
        version_type=VersionType.SIMPLE,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


async def automate(options: ServeOptions, ids: Mapping[DeploymentSpec, UUID]) -> None:
    """Install the automations: notifications where a block is configured, retraining on drift where its deployment is complete."""
    await migrate_webhook_block()
    if options.notify is not None:
        block = await (save_webhook(options.notify) if "://" in options.notify else block_named(options.notify))
        await install(block)
    for spec, deployment_id in ids.items():
        if spec.form is RetrainParams and complete(spec.form, await _kept(_known_as(spec))):
            async with get_client() as client:
                await upsert_automation(client, retrain_on_drift(deployment_id))


async def recover_interrupted_runs(deployments: Sequence[UUID]) -> None:
    """Set the state of runs that an earlier `ferflow up` left unfinished. A home has one `ferflow up`, so no process runs them."""
    at_work = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    unfinished = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=at_work)),
    )
    async with get_client() as client:
        for run in await client.read_flow_runs(flow_run_filter=unfinished):
            await client.set_flow_run_state(run.id, recovery_state(_interrupted(run)), force=True)


def write_status(out: int, what: dict[str, object]) -> None:
    """Write one line to the waiting parent process."""
    with os.fdopen(out, "w") as stream:
        stream.write(json.dumps(what) + "\n")


def _interrupted(run: FlowRun) -> Interrupted:
    return Interrupted(run.run_count, run.state is not None and run.state.type is StateType.CANCELLING)


def _known_as(spec: DeploymentSpec) -> str:
    return f"{spec.flow.name}/{spec.name}"


async def _kept(name: str) -> dict[str, Any]:
    """The form's fields as an earlier `ferflow up`, or a user in the UI, has set them."""
    async with get_client() as client:
        try:
            kept = (await client.read_deployment_by_name(name)).parameters.get("params")
        except ObjectNotFound:
            return {}
    return kept if isinstance(kept, dict) else {}


def _version() -> str | None:
    try:
        return version("ferflow")
    except PackageNotFoundError:
        return None


def main() -> None:
    """See above."""
    out = int(sys.argv[1])
    os.set_inheritable(out, False)
    try:
        asyncio.run(serve(ServeOptions(**json.load(sys.stdin)), out))
    except Exception as error:
        with suppress(OSError):  # where it has served already, no process waits
            write_status(out, {"error": " ".join(str(error).split())[:300]})
        raise


if __name__ == "__main__":
    main()
