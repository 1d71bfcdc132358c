"""Tasks of the flow `night-check`: detects that a labels root got no run in time, and emits an event."""

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from fer_core.commit.lease import BEAT_SECONDS, Claim, live_claims
from fer_core.commit.process_identity import is_running_here
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.relabel.survey import SOURCE as RELABELLED
from fer_core.storage.store import Store, open_store
from tasks.artifacts.event_resource import resource_of
from tasks.task_log import log_found

EVENT: Final = "fer.night.missing"


@dataclass(frozen=True, slots=True)
class Freshness:
    """Runs of the last hours in a labels root."""

    root: str
    hours: float
    run_id: str | None
    """The labelling run that was committed last, at any time."""
    committed_at: str | None
    """Time of its commit, ISO 8601, UTC."""
    at_work: str | None
    """The run that writes there now: `run run-20261124-020000-ab12`."""
    missing: bool
    """Whether a notification is due."""


def is_missing(committed_at: datetime | None, at_work: bool, now: datetime, hours: float) -> bool:
    """Whether there was no run: none committed within so many hours, and none running. A run that takes long is not missing."""
    return not at_work and (committed_at is None or committed_at < now - timedelta(hours=hours))


@task(name="look-for-run", cache_policy=NO_CACHE, persist_result=False)
def find_last_run(root: str, hours: float) -> Freshness:
    """Read the manifests of a labels root: they record every run, however it was started. Relabelling does not count."""
    store = open_store(root)
    manifests = [read_manifest(store, run) for run in committed_runs(store)]
    newest = max((one for one in manifests if one.source != RELABELLED), key=lambda one: one.committed_at, default=None)
    committed_at = None if newest is None else datetime.fromisoformat(newest.committed_at)
    at_work = active_run(store)
    last = "no run is committed" if newest is None else f"last run {newest.run_id}, committed {newest.committed_at}"
    log_found(f"{last}; running now: {at_work or 'none'}")
    return Freshness(
        store.url(),
        hours,
        None if newest is None else newest.run_id,
        None if newest is None else newest.committed_at,
        at_work,
        is_missing(committed_at, at_work is not None, datetime.now(UTC), hours),
    )


@task(name="tell-of-missing", cache_policy=NO_CACHE, persist_result=False)
def notify_missing_run(night: Freshness) -> None:
    """Emit `fer.night.missing`."""
    resource = {"prefect.resource.id": resource_of(night.root), "prefect.resource.name": night.root}
    event = emit_event(EVENT, resource=resource, payload=asdict(night))
    unheard = "" if event else ", and no event could be emitted"
    get_run_logger().warning("no run of the last %g hours in %s%s", night.hours, night.root, unheard)


def active_run(store: Store, wait: float = 3 * BEAT_SECONDS) -> str | None:
    """The run that holds the root's lease now. A process of another machine cannot be observed from here: it counts if it renews
    the lease within `wait` seconds.
    """
    before = _runs(store)
    if not before or any(is_running_here(claim.process) for claim in before):
        return before[0].work if before else None
    time.sleep(wait)
    beats = {claim.token: claim.beat for claim in before}
    return next((claim.work for claim in _runs(store) if claim.beat != beats.get(claim.token)), None)


def _runs(store: Store) -> list[Claim]:
    return [claim for claim in live_claims(store) if claim.held and claim.work.startswith("run ")]
