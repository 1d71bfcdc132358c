"""Remove images and faces from a labels root, and deny them to later runs.

The deny list is written first, with the audit record of the removal as `pending`. What it denies is then removed from every file. After an
interruption the next removal, run or housekeeping applies the same list again. The audit record is written last. The caller holds the
root's lease.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pyarrow.compute as pc

from fer_core.commit.deny_list import DenyList, read_deny_list, write_deny_list
from fer_core.commit.plan import read_plan, replace_plan
from fer_core.commit.publish import committed_runs, is_committed, read_manifest
from fer_core.commit.recovery import finish_interrupted_commits
from fer_core.commit.rewrite import rewrite_run
from fer_core.erasure.audit import AuditRecord
from fer_core.erasure.named import Named, named_faces, named_images
from fer_core.erasure.outputs import aged_contents
from fer_core.erasure.places import Place, of_rows, places_of, planned_runs
from fer_core.erasure.registered import refresh_delta
from fer_core.erasure.request import Request
from fer_core.erasure.retention import finish_retention
from fer_core.erasure.staged import of_staged, purge_staging, remove_unfinished, staged_tables
from fer_core.errors import CommitError
from fer_core.review.history import remove_reviews
from fer_core.storage.store import Store

AssertLease = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Found:
    """A request and what the root holds of it."""

    named: Named
    places: tuple[Place, ...]


def find(store: Store, request: Request) -> Found:
    """What a removal would remove. CommitError where no run has one of the faces."""
    images = named_images(store, request.uris, {*request.contents, *aged_contents(store, request.uris)})
    faces = named_faces(store, request.face_ids).faces if request.face_ids else ()
    named = replace(images, faces=faces)
    return Found(named, tuple(places_of(store, named)))


def forget(store: Store, request: Request, by: str, reason: str = "", assert_lease: AssertLease = lambda: None) -> AuditRecord | None:
    """Remove everything that names the images and faces of a request, and deny them to later runs. Returns the audit record.

    An interrupted removal is finished first, and so are interrupted commits. None where there is nothing left to remove or to deny, as in
    a repetition after an interruption. CommitError where no run has one of the faces, or where a part is damaged.
    """
    finished = finish_forgetting(store, assert_lease)
    finish_interrupted_commits(store, assert_lease)
    before = read_deny_list(store)
    denied = {face.face_id for face in before.faces}
    found = find(store, replace(request, face_ids=[face_id for face_id in request.face_ids if before.face(face_id) not in denied]))
    named = found.named
    deny = before.extended(named.uris, named.contents, named.faces)
    if deny == before and not found.places:
        return finished
    record = AuditRecord.new(by, reason, request.asked, found.places)
    assert_lease()
    write_deny_list(store, replace(deny, pending=record.to_json()))
    return finish_forgetting(store, assert_lease)


def finish_forgetting(store: Store, assert_lease: AssertLease = lambda: None) -> AuditRecord | None:
    """Finish a removal that was interrupted, also one for age, and clear what killed runs have staged of denied images since. For the start
    of every run.

    Returns the audit record of a removal that was asked for; None where there is none.
    """
    finish_retention(store, assert_lease)
    deny = read_deny_list(store)
    if not deny.pending:
        if not deny.empty:
            _clear_staging(store, deny, assert_lease)
        return None
    try:
        record = AuditRecord.from_json(deny.pending)
    except (TypeError, ValueError) as error:
        raise CommitError(f"the deny list of {store.url()} does not say which removal was interrupted") from error
    remove_denied(store, deny, assert_lease)
    assert_lease()
    record = replace(record, delta=refresh_delta(store))
    record.write(store)
    write_deny_list(store, replace(deny, pending={}))
    return record


def remove_denied(store: Store, deny: DenyList, assert_lease: AssertLease = lambda: None) -> None:
    """Remove what is denied from tables, plans, staging and reviews. Idempotent.

    Older runs come first: no older label becomes the current one meanwhile.
    """
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    for manifest in sorted(manifests, key=lambda manifest: (manifest.config["started_us"], manifest.run_id)):
        rewrite_run(store, manifest.run_id, deny, assert_lease)
    purge_staging(store, deny, assert_lease)
    for run_id in planned_runs(store):
        _remove_from_plan(store, run_id, deny, assert_lease)
    remove_unfinished(store)
    assert_lease()
    remove_reviews(store, lambda rows: of_rows(deny, rows))


def _remove_from_plan(store: Store, run_id: str, deny: DenyList, assert_lease: AssertLease) -> None:
    """Remove the images that are denied by their address. A run that may be resumed counts them as denied."""
    plan = read_plan(store, run_id)
    gone = deny.denies(plan.images)
    count = pc.sum(gone, min_count=0).as_py()
    if count:
        assert_lease()
        denied = plan.denied if is_committed(store, run_id) else plan.denied + count
        replace_plan(store, replace(plan, images=plan.images.filter(pc.invert(gone)), listed=plan.listed - count, denied=denied))


def _clear_staging(store: Store, deny: DenyList, assert_lease: AssertLease) -> None:
    """Copies under other names, and denied faces, in shards of runs that were killed before their commit. Addresses of copies are denied
    first."""
    copies, touched = list[str](), False
    for staged in staged_tables(store):
        if staged.rows is not None:
            touched = touched or bool(pc.any(of_staged(deny, staged), min_count=0).as_py())
            copies += staged.rows.filter(deny.denies(staged.rows))["image_uri"].to_pylist()
    if not touched:
        return
    deny = deny.extended(copies)
    assert_lease()
    write_deny_list(store, deny)
    purge_staging(store, deny, assert_lease)
    for run_id in planned_runs(store):
        if not is_committed(store, run_id):
            _remove_from_plan(store, run_id, deny, assert_lease)


def undo(store: Store, request: Request, by: str, reason: str = "", assert_lease: AssertLease = lambda: None) -> AuditRecord:
    """Allow images and faces again. Returns the audit record, with the number of entries that were removed from the deny list.

    The rows do not return; the next run labels what it lists. CommitError where nothing of the request is denied.
    """
    finish_forgetting(store, assert_lease)
    deny = read_deny_list(store)
    uris, contents = {deny.uri(uri) for uri in request.uris}, {deny.content(sha256) for sha256 in request.contents}
    face_ids = {deny.face(face_id) for face_id in request.face_ids}
    faces = tuple(face for face in deny.faces if face.content not in contents and face.face_id not in face_ids)
    allowed = replace(deny, uris=deny.uris - uris, contents=deny.contents - contents, faces=faces)
    if allowed == deny:
        raise CommitError(f"nothing that was named is denied in {store.url()}")
    lifted = {
        "image": len(deny.uris) - len(allowed.uris),
        "sha256": len(deny.contents) - len(allowed.contents),
        "face": len(deny.faces) - len(allowed.faces),
    }
    record = AuditRecord.new(by, reason, request.asked, ())
    record = replace(record, id=record.id.replace("forget", "undo", 1), lifted=lifted)
    assert_lease()
    record.write(store)
    write_deny_list(store, allowed)
    return record
