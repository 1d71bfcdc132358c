"""Tasks of the flow `forget`: count what names an image or a face, and remove it."""

from collections.abc import Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from fer_core.commit.lease import Lease
from fer_core.erasure.audit import AuditRecord, current_user
from fer_core.erasure.forget import find, forget
from fer_core.erasure.outputs import HeldOutput, forget_outputs, outputs_of
from fer_core.erasure.request import Request
from fer_core.storage.store import open_store
from tasks.artifacts.markdown import Markdown, lines
from tasks.artifacts.publication import publish
from tasks.execution.signals import raise_if_stop_requested
from tasks.task_log import log_found


@task(name="find-places", cache_policy=NO_CACHE, persist_result=False)
def find_places(root: str, request: Request) -> AuditRecord:
    """What a removal would remove; changes nothing."""
    raise_if_stop_requested()
    return AuditRecord.new("", "", request.asked, find(open_store(root), request).places)


@task(name="remove", cache_policy=NO_CACHE, persist_result=False)
def remove(root: str, request: Request, reason: str, held: Lease) -> AuditRecord | None:
    """Remove it and deny it to later runs. None where an earlier removal did so."""
    raise_if_stop_requested()
    return forget(open_store(root), request, current_user(), reason, held.check)


@task(name="list-outputs", cache_policy=NO_CACHE, persist_result=False)
def list_outputs(root: str, request: Request) -> list[HeldOutput]:
    """What was written from the root elsewhere and holds forgotten images, or those that were named; changes nothing."""
    raise_if_stop_requested()
    store = open_store(root)
    return outputs_of(store, find(store, request).named)


@task(name="remove-outputs", cache_policy=NO_CACHE, persist_result=False)
def remove_outputs(root: str, reason: str, held: Lease) -> list[HeldOutput]:
    """Remove forgotten images from it."""
    raise_if_stop_requested()
    return forget_outputs(open_store(root), current_user(), reason, held.check)


@task(name="report-forget", cache_policy=NO_CACHE, persist_result=False)
def report_forget(record: AuditRecord | None, outputs: Sequence[HeldOutput], *, dry_run: bool) -> AuditRecord | None:
    """Write the page. Neither it nor the log names anything but outputs."""
    publish("forget", page(record, outputs, dry_run), headline(record, dry_run))
    log_found(headline(record, dry_run))
    return record


def headline(record: AuditRecord | None, dry_run: bool) -> str:
    """One line."""
    if record is None:
        return "nothing names it, and it is denied to later runs already"
    done = "would be removed" if dry_run else "removed"
    return f"{sum(record.rows.values()):,} rows {done} from {record.runs:,} runs"


def page(record: AuditRecord | None, outputs: Sequence[HeldOutput], dry_run: bool) -> Markdown:
    """Headline, rows by kind, outputs, and where the audit record lies."""
    written = [Markdown("# {}").format(headline(record, dry_run)), Markdown()]
    if record is not None:
        written += [Markdown("- {}: {:,}").format(kind, count) for kind, count in record.rows.items()]
        written += [Markdown("- Delta table {}: {}").format(table, state) for table, state in record.delta.items()]
        written += [] if dry_run else [Markdown(), Markdown("Audit record: {}").format(record.path)]
    written += [Markdown("- {} {}: {}, {:,} {}").format(one.kind, one.url, one.state, one.rows, one.note) for one in outputs]
    return lines(written)
