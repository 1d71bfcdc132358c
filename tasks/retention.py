"""What is past the age that the policy of a labels root allows, in the flows that remove it."""

from fer_core.commit.lease import Lease
from fer_core.erasure.audit import AuditRecord, current_user
from fer_core.erasure.retention import remove_aged
from fer_core.storage.store import Store
from tasks.task_log import log_found


def enforce_ages(store: Store, held: Lease) -> AuditRecord | None:
    """Remove it, and log how much there was. None where there was none. For the body of a task."""
    removed = remove_aged(store, current_user(), assert_lease=held.check)
    if removed is not None:
        log_found(removed_text(removed))
    return removed


def removed_text(removed: AuditRecord) -> str:
    """`past their age, removed: 6 crops, 4 images, 8 labels`."""
    return f"past their age, removed: {', '.join(f'{count:,} {kind}' for kind, count in removed.rows.items()) or 'no rows'}"
