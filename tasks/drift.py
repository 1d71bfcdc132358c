"""Tasks of the flow `report`: compare the runs of a root with their reference, emit an event on drift, write the page."""

import math

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event
from prefect.variables import Variable

from fer_core.errors import UsageError
from fer_core.monitoring.disclosure import Disclosure
from fer_core.monitoring.drift import DRIFT, ENOUGH, WATCH, Limits
from fer_core.monitoring.reference import FOLDER
from fer_core.monitoring.report import Report, report_on, write_report
from fer_core.storage.store import open_store
from tasks.artifacts.drift import headline, markdown
from tasks.artifacts.event_resource import resource_of
from tasks.artifacts.publication import publish
from tasks.task_log import log_found

EVENT = "fer.drift.detected"
WATCH_VARIABLE, DRIFT_VARIABLE, FACES_VARIABLE = "fer_drift_watch", "fer_drift_limit", "fer_drift_faces"
"""Prefect variables: index from which on a measure is watched, and has drifted; faces that a run needs for a verdict."""


@task(name="judge-runs", cache_policy=NO_CACHE, persist_result=False)
def judge_runs(root: str, reference_run: str | None) -> Report:
    """Compare each run with the reference of its model, by the limits in Prefect variables, or else the defaults."""
    report = report_on(open_store(root), limits_set(), reference_run)
    log_found(f"compared {len(report.runs):,} runs: {headline(report)}")
    return report


@task(name="drift", cache_policy=NO_CACHE, persist_result=False)
def notify_drift(report: Report) -> bool:
    """Emit `fer.drift.detected` when the newest run has drifted, once a run. Whether it was emitted now."""
    newest = report.newest
    if newest is None or not report.drifted:
        log_found("no drift, no event")
        return False
    store = open_store(report.root)
    told = f"{FOLDER}/told/{newest.manifest.run_id}.json"
    if store.exists(told):
        get_run_logger().info("run %s has drifted; its event was emitted before", newest.manifest.run_id)
        return False
    resource = {"prefect.resource.id": resource_of(report.root), "prefect.resource.name": report.root, "fer.run": newest.manifest.run_id}
    resource |= {"fer.model": newest.manifest.model_digest, "fer.drifted": ",".join(report.drifted)}
    event = emit_event(EVENT, resource=resource, payload=report.to_json())
    if event is None:
        get_run_logger().warning("run %s has drifted, and no event could be emitted: %s", newest.manifest.run_id, ", ".join(report.drifted))
        return False
    store.write_bytes(told, f'{{"event": "{event.id}"}}\n'.encode())
    log_found(f"emitted {EVENT} for run {newest.manifest.run_id}: {', '.join(report.drifted)}")
    return True


@task(name="write-report", cache_policy=NO_CACHE, persist_result=False)
def write_page(report: Report, file: str, disclosure: Disclosure) -> str:
    """Write the page, and the drift of the newest run as an artifact with its address. Returns the address."""
    written = write_report(report, file, disclosure)
    publish("drift-report", markdown(report, written), f"{len(report.runs)} runs of {report.root}")
    log_found(f"wrote {written}")
    return written


def limits_set() -> Limits:
    """From Prefect variables. UsageError when one of them is no number, or they make no sense together."""
    watch, drift, faces = (
        _number(name, default) for name, default in ((WATCH_VARIABLE, WATCH), (DRIFT_VARIABLE, DRIFT), (FACES_VARIABLE, ENOUGH))
    )
    try:
        return Limits(watch, drift, int(faces))
    except ValueError as error:
        raise UsageError(f"Prefect variables {WATCH_VARIABLE}, {DRIFT_VARIABLE}, {FACES_VARIABLE}: {error}") from error


def _number(name: str, default: float) -> float:
    value: object = Variable.get(name, default=default)  # any JSON
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"Prefect variable {name} is no number: {value!r}")
    return number
