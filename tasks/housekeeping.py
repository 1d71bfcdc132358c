"""Tasks of the flow `housekeeping`: finish what was cut off, collect what is old, check that all is there."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from fer_core.commit.lease import Lease
from fer_core.commit.recovery import collect_abandoned, finish_begun
from fer_core.commit.verify import VerifyReport, verify
from fer_core.errors import CommitError
from fer_core.storage.store import open_store
from tasks.artifacts.markdown import Markdown, lines
from tasks.artifacts.publication import publish
from tasks.execution.signals import stop_if_asked

SHOWN = 50
"""Problems that the page names; all of them are in the log."""


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What was done in a labels root."""

    finished: tuple[str, ...]
    """Runs whose commit had been cut off."""
    collected: tuple[str, ...]
    """Runs whose staging was removed."""
    report: VerifyReport | None
    """None where it was not asked for."""


@task(name="collect", cache_policy=NO_CACHE, persist_result=False)
def collect(root: str, keep_days: int, held: Lease) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Finish commits that were cut off, then remove staging that nothing was written to for so many days. Ids of both kinds of runs."""
    stop_if_asked()
    store = open_store(root)
    return tuple(finish_begun(store, held.check)), tuple(collect_abandoned(store, timedelta(days=keep_days)))


@task(name="verify", cache_policy=NO_CACHE, persist_result=False)
def verify_root(root: str) -> VerifyReport:
    """Read every committed part. Problems are in the log and on the page; `conclude` fails the run."""
    stop_if_asked()
    report = verify(open_store(root))
    for problem in report.problems:
        get_run_logger().error("%s", problem)
    return report


@task(name="report-housekeeping", cache_policy=NO_CACHE, persist_result=False)
def conclude(done: Housekeeping) -> Housekeeping:
    """The page. CommitError when something that was promised is not there: people have to be told."""
    publish("housekeeping", page(done), headline(done))
    if done.report is not None and not done.report.ok:
        raise CommitError(headline(done))
    return done


def headline(done: Housekeeping) -> str:
    """One line."""
    if done.report is not None and not done.report.ok:
        return f"{len(done.report.problems)} problems; the first: {done.report.problems[0]}"
    parts = [f"{len(done.finished)} commits finished, staging of {len(done.collected)} runs collected"]
    if done.report is not None:
        parts.append(f"{done.report.runs} runs, {done.report.parts} parts and {done.report.rows:,} rows as promised")
    return "; ".join(parts)


def page(done: Housekeeping) -> Markdown:
    """Headline and lists."""
    written = [Markdown("# {}").format(headline(done)), Markdown()]
    lists: Mapping[str, tuple[str, ...]] = {
        "Problems": () if done.report is None else done.report.problems[:SHOWN],
        "Notes": () if done.report is None else done.report.notes[:SHOWN],
        "Commits finished": done.finished,
        "Staging collected": done.collected,
    }
    for title, entries in lists.items():
        if entries:
            written += [Markdown("## {}\n").format(title), *(Markdown("- {}").format(entry) for entry in entries), Markdown()]
    return lines(written)
