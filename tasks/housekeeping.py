"""Tasks of the flow `housekeeping`: finish interrupted commits, remove old staging, verify the tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from fer_core.commit.lease import Lease
from fer_core.commit.recovery import finish_interrupted_commits, gc_staging
from fer_core.commit.verify import VerifyReport, verify
from fer_core.erasure.audit import AuditRecord
from fer_core.erasure.forget import finish_forgetting
from fer_core.erasure.retention import finish_retention
from fer_core.errors import CommitError
from fer_core.storage.store import open_store
from tasks.artifacts.markdown import Markdown, lines
from tasks.artifacts.publication import publish
from tasks.execution.progress import Tenths, counted
from tasks.execution.signals import raise_if_stop_requested
from tasks.retention import enforce_ages, removed_text
from tasks.task_log import log_found

SHOWN = 50
"""Problems that the page names; all of them are in the log."""


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """Result of housekeeping in a labels root."""

    finished: tuple[str, ...]
    """Runs whose interrupted commit was finished."""
    collected: tuple[str, ...]
    """Runs whose staging was removed."""
    report: VerifyReport | None
    """None where it was not requested."""
    removed: AuditRecord | None = None
    """What was removed because it was older than the policy of the root allows; None where nothing was."""


@task(name="collect", cache_policy=NO_CACHE, persist_result=False)
def collect(root: str, keep_days: int, held: Lease) -> Housekeeping:
    """Finish interrupted removals and commits, remove what is past its age, and staging without a write for `keep_days` days."""
    raise_if_stop_requested()
    store = open_store(root)
    earlier = finish_retention(store, held.check)
    if finish_forgetting(store, held.check) is not None:
        log_found("finished an interrupted removal of images")
    finished = tuple(finish_interrupted_commits(store, held.check))
    removed = enforce_ages(store, held) or earlier
    collected = tuple(gc_staging(store, timedelta(days=keep_days)))
    log_found(f"finished {len(finished):,} interrupted commits, removed the staging of {len(collected):,} runs")
    return Housekeeping(finished, collected, None, removed)


@task(name="verify", cache_policy=NO_CACHE, persist_result=False)
def verify_root(root: str) -> VerifyReport:
    """Read every committed part. Problems are in the log and on the page; `conclude` fails the run."""
    raise_if_stop_requested()
    tenths, log = Tenths(), get_run_logger()

    def on_part(done: int, total: int) -> None:
        raise_if_stop_requested()
        if tenths.passed(done, total):
            log.info("%s", counted("verified files", done, total))

    report = verify(open_store(root), on_part)
    for problem in report.problems:
        log.error("%s", problem)
    log_found(f"verified {report.runs:,} runs, {report.parts:,} files, {report.rows:,} rows: {len(report.problems):,} problems")
    return report


@task(name="report-housekeeping", cache_policy=NO_CACHE, persist_result=False)
def conclude(done: Housekeeping) -> Housekeeping:
    """Write the page. CommitError when a part of a manifest is missing or damaged."""
    publish("housekeeping", page(done), headline(done))
    log_found(headline(done))
    if done.report is not None and not done.report.ok:
        raise CommitError(headline(done))
    return done


def headline(done: Housekeeping) -> str:
    """One line."""
    if done.report is not None and not done.report.ok:
        return f"{len(done.report.problems)} problems; the first: {done.report.problems[0]}"
    parts = [f"{len(done.finished)} commits finished, staging of {len(done.collected)} runs collected"]
    if done.removed is not None:
        parts.append(removed_text(done.removed))
    if done.report is not None:
        parts.append(f"{done.report.runs} runs, {done.report.parts} parts and {done.report.rows:,} rows verified")
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
    if done.removed is not None:
        written += [
            Markdown("## Past their age\n"),
            *(Markdown("- {}: {:,}").format(kind, count) for kind, count in done.removed.rows.items()),
        ]
        written += [Markdown("- Delta table {}: {}").format(table, state) for table, state in done.removed.delta.items()]
        written += [Markdown("\nAudit record: {}\n").format(done.removed.path)]
    for title, entries in lists.items():
        if entries:
            written += [Markdown("## {}\n").format(title), *(Markdown("- {}").format(entry) for entry in entries), Markdown()]
    return lines(written)
