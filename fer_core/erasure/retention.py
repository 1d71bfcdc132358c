"""Remove from a labels root what is older than its policy allows: the crops of a run, or all its rows.

All rows of a run have the age of its plan, which is their `labeled_at`. What goes is written down first, in the list of expired images,
with the audit record of the removal as `pending`; then the parts are replaced as `forget` does it. After an interruption the next run,
removal or housekeeping goes by the same times. The audit record is written last. The caller holds the root's lease.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.deny_list import read_deny_list
from fer_core.commit.expired_list import SEEN, ExpiredList, read_expired_list, write_expired_list
from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import read_part
from fer_core.commit.plan import read_plan, replace_plan
from fer_core.commit.policy import Policy, read_policy
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.commit.recovery import discard
from fer_core.commit.rewrite import replace_parts
from fer_core.erasure.audit import AuditRecord
from fer_core.erasure.places import Place, planned_runs
from fer_core.erasure.registered import refresh_delta
from fer_core.erasure.staged import remove_unfinished, run_of, staged_tables
from fer_core.errors import CommitError
from fer_core.review.history import remove_reviews, review_files
from fer_core.run.configuration import KEPT_CROPS, RunConfig
from fer_core.storage.paths import plan_file, staging_folder
from fer_core.storage.store import Store
from fer_core.tables.schema import FACES
from fer_core.validation import check_entries

AssertLease = Callable[[], None]
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Ages:
    """Runs that were planned before these times, microseconds since the epoch, are past their age. None: no run is."""

    rows_before_us: int | None = None
    crops_before_us: int | None = None

    @classmethod
    def of(cls, policy: Policy, now: datetime) -> Self:
        """now: aware."""
        present = (now - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
        return cls(*(None if age is None else present - age * DAY_US for age in (policy.keep_labels_days, policy.keep_crops_days)))

    def rows_go(self, started_us: int) -> bool:
        """Whether all rows of a run go."""
        return self.rows_before_us is not None and started_us < self.rows_before_us

    def crops_go(self, started_us: int) -> bool:
        """Whether its crops go, at least."""
        return self.rows_go(started_us) or (self.crops_before_us is not None and started_us < self.crops_before_us)

    def parts_of(self, manifest: Manifest) -> list[Part]:
        """Parts of a committed run in which something is past its age."""
        started = manifest.config["started_us"]
        if self.rows_go(started):
            return [part for part in manifest.parts if part.rows]
        return [part for part in manifest.parts_of("faces") if part.rows] if self.crops_go(started) and manifest.has_crops else []


@dataclass(frozen=True, slots=True)
class _Younger:
    """What remains of a run that is past its age. In `faces`, rows stay with their labels, without the crop."""

    rows_go: bool
    crops: int
    """How many the run loses."""

    def kept(self, table: str, rows: pa.Table) -> pa.Table:
        if self.rows_go:
            return rows.slice(0, 0)
        number = rows.schema.get_field_index("crop_png")
        return rows.set_column(number, FACES.field("crop_png"), pa.nulls(rows.num_rows, pa.binary())).cast(rows.schema)

    def counted(self, manifest: Manifest, images: int, faces: int) -> Manifest:
        gone = {"images": images, "labels": faces, "faces": self.crops}
        total = {table: manifest.removed_for_age.get(table, 0) + count for table, count in gone.items()}
        return replace(manifest, removed_for_age={table: count for table, count in total.items() if count})


def remove_aged(store: Store, by: str, now: datetime | None = None, assert_lease: AssertLease = lambda: None) -> AuditRecord | None:
    """Remove what is older than the policy of a root allows, and let later runs leave those images out until they change.

    Returns the audit record; None where nothing is too old. now: aware, the present if None. CommitError where a part is damaged, or where
    an interrupted `forget` is to be finished first.
    """
    if read_deny_list(store).pending:  # its parts are neither the committed ones nor those that would be left here
        raise CommitError(f"images are being forgotten in {store.url()}: finish that first, with ferflow forget or the housekeeping flow")
    finished = finish_retention(store, assert_lease)
    now, policy = now or datetime.now(UTC), read_policy(store)
    ages = Ages.of(policy, now)
    if ages == Ages():
        return finished
    manifests = _by_age(store)
    going = [manifest for manifest in manifests if ages.parts_of(manifest)]
    begun = [config for config in _begun(store, manifests) if ages.rows_go(config.started_us) or _staged_crops(store, config, ages)]
    if not going and not begun:
        return finished
    expired = _expired(store, read_expired_list(store), manifests, going, ages)
    reason = ", ".join(f"{name} {getattr(policy, name)}" for name in ("keep_crops_days", "keep_labels_days") if getattr(policy, name))
    record = AuditRecord.new(by, f"policy: {reason}", {}, _places(store, going, begun, expired, ages), now)
    record = replace(record, id=record.id.replace("forget", "retention", 1))
    assert_lease()
    write_expired_list(store, replace(expired, pending={"ages": asdict(ages), "record": record.to_json()}))
    return finish_retention(store, assert_lease)


def finish_retention(store: Store, assert_lease: AssertLease = lambda: None) -> AuditRecord | None:
    """Finish a removal for age that was begun. Returns its audit record; None where there is none."""
    expired = read_expired_list(store)
    if not expired.pending:
        return None
    ages, record = _pending(store, expired.pending)
    manifests = _by_age(store)
    for manifest in manifests:  # older ones first: no older label becomes the current one meanwhile
        parts = ages.parts_of(manifest)
        if parts:
            crops = sum(part.rows for part in manifest.parts_of("faces")) if manifest.has_crops else 0
            keep = _Younger(ages.rows_go(manifest.config["started_us"]), crops)
            replace_parts(store, replace(manifest, compacting=()), parts, keep, assert_lease)
        if ages.rows_go(manifest.config["started_us"]):
            _empty_plan(store, manifest.run_id, assert_lease)
    for config in _begun(store, manifests):
        if ages.rows_go(config.started_us) or config.source == KEPT_CROPS:  # the crops it was to label may be gone
            discard(store, config.run_id, assert_lease)
        elif _staged_crops(store, config, ages):
            assert_lease()
            store.remove_tree(staging_folder(config.run_id))
    remove_unfinished(store)
    assert_lease()
    remove_reviews(store, expired.has_content)
    assert_lease()
    record = replace(record, delta=refresh_delta(store))
    record.write(store)
    write_expired_list(store, replace(expired, pending={}))
    return record


def _pending(store: Store, value: Mapping[str, Any]) -> tuple[Ages, AuditRecord]:
    try:
        ages = Ages(**value["ages"])
        check_entries(ages)
        return ages, AuditRecord.from_json(value["record"])
    except (TypeError, ValueError, KeyError) as error:
        raise CommitError(f"the list of expired images of {store.url()} does not say which removal was interrupted") from error


def _by_age(store: Store) -> list[Manifest]:
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    return sorted(manifests, key=lambda manifest: (manifest.config["started_us"], manifest.run_id))


def _begun(store: Store, committed: Iterable[Manifest]) -> list[RunConfig]:
    """Runs that were planned and are not committed."""
    known = {manifest.run_id for manifest in committed}
    return [read_plan(store, run_id).config for run_id in planned_runs(store) if run_id not in known]


def _staged_crops(store: Store, config: RunConfig, ages: Ages) -> bool:
    """Whether an uncommitted run has staged crops that are past their age. Resumed without them, it processes its shards again."""
    return config.keep_crops and ages.crops_go(config.started_us) and bool(store.list_files(staging_folder(config.run_id)))


def _empty_plan(store: Store, run_id: str, assert_lease: AssertLease) -> None:
    plan = read_plan(store, run_id)
    if plan.images.num_rows:
        assert_lease()
        replace_plan(store, replace(plan, images=plan.images.slice(0, 0), listed=plan.listed - plan.images.num_rows))


def _expired(store: Store, before: ExpiredList, manifests: Sequence[Manifest], going: Sequence[Manifest], ages: Ages) -> ExpiredList:
    """The list with the images of which no younger row remains."""
    old = [manifest for manifest in going if ages.rows_go(manifest.config["started_us"])]
    if not old:
        return before
    return before.extended(_seen(store, old), _seen(store, (one for one in manifests if not ages.rows_go(one.config["started_us"]))))


def _seen(store: Store, manifests: Iterable[Manifest]) -> Iterator[pa.Table]:
    for manifest in manifests:
        for part in manifest.parts_of("images"):
            yield read_part(store, part, SEEN, manifest.run_id)


def _places(store: Store, going: Iterable[Manifest], begun: Iterable[RunConfig], expired: ExpiredList, ages: Ages) -> Iterator[Place]:
    """What goes. Of faces that lose their crop alone, the kind is `crops`."""
    for manifest in going:
        rows_go = ages.rows_go(manifest.config["started_us"])
        for part in ages.parts_of(manifest):
            yield Place(part.table if rows_go else "crops", manifest.run_id, part.path, part.rows)
        if rows_go:
            yield Place("plan", manifest.run_id, plan_file(manifest.run_id), read_plan(store, manifest.run_id).images.num_rows)
    unfinished = {config.run_id for config in begun}
    for staged in staged_tables(store) if unfinished else ():
        if run_of(staged.path) in unfinished and staged.rows is not None:
            yield Place("staging", run_of(staged.path), staged.path, staged.rows.num_rows)
    for path, reviews in review_files(store):
        rows = pc.sum(expired.has_content(reviews), min_count=0).as_py()
        if rows:
            yield Place("reviews", "", path, rows)
