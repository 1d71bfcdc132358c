"""Receipts -> published parts -> manifest. One committer per run. A commit is idempotent: repeat it after any interruption."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.begun import note_begun, read_begun
from fer_core.commit.coalesce import LARGEST_PART, coalesce, part_exists
from fer_core.commit.denied_receipts import AllowedReceipts, allowed_receipts
from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.plan import Plan, read_plan, replace_plan
from fer_core.errors import CommitError, StoreError
from fer_core.hashing import json_sha256
from fer_core.json_reader import parse_object
from fer_core.labels import EXPRESSIONS
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.storage.paths import (
    RUNS,
    TABLES,
    is_run_id,
    manifest_file,
    published_file,
    receipts_folder,
    run_folder,
    staged_file,
    staging_folder,
)
from fer_core.storage.store import Store
from fer_core.tables.reasons import joined_reasons
from fer_core.tables.schema import IMAGE_STATUSES, SCHEMA_VERSION
from fer_core.timing import STAGES


def is_committed(store: Store, run_id: str) -> bool:
    """Whether the run's manifest exists. The manifest makes the rows final."""
    return is_run_id(run_id) and store.exists(manifest_file(run_id))


def read_manifest(store: Store, run_id: str) -> Manifest:
    """The manifest of a committed run. CommitError if it is missing or damaged.

    After an interrupted compaction of an earlier release, `parts` are those that exist in the tables: for each table the old or the new.
    """
    if not is_committed(store, run_id):
        raise CommitError(f"run {run_id} is not committed")
    try:
        manifest = Manifest.from_bytes(store.read_bytes(manifest_file(run_id)))
    except (ValueError, KeyError, TypeError) as error:
        raise CommitError(f"the manifest of run {run_id} cannot be read: {manifest_file(run_id)}") from error
    firsts = {part.table: part for part in reversed(manifest.compacting)}
    return manifest.with_new([table for table, part in firsts.items() if store.exists(part.path)]) if firsts else manifest


def committed_runs(store: Store) -> list[str]:
    """Ids of the runs that have a manifest, in alphabetical order."""
    files = (path.split("/") for path in store.list_files(RUNS))
    return sorted(parts[-2] for parts in files if parts[-1] == "manifest.json" and is_run_id(parts[-2]))


def staged_receipts(store: Store, run_id: str) -> dict[PartName, ShardReceipt]:
    """Receipts of the finished shards of a run, by part name. A receipt counts only if each of its parts is in staging, or already in its
    table, with the right digest. Shards with damaged or lost parts are left out and are processed again.
    """
    config = read_plan(store, run_id).config
    receipts = (_read_receipt(store, path) for path in store.list_files(receipts_folder(run_id)) if path.endswith(".json"))
    whole = [receipt for receipt in receipts if receipt and all(part_exists(store, config, part) for part in receipt.parts)]
    return {receipt.part: receipt for receipt in final_receipts(whole)}


def final_receipts(receipts: Iterable[ShardReceipt]) -> list[ShardReceipt]:
    """Receipts that cover each image once, sorted by part name.

    A shard that was abandoned and split may still be finished by a worker that was presumed lost. The whole shard then replaces the pieces.
    """
    by_part = {receipt.part: receipt for receipt in receipts}
    return [by_part[part] for part in sorted(by_part) if not any(whole in by_part for whole in part.ancestors)]


def unfinished_shards(plan: Plan, receipts: Mapping[PartName, ShardReceipt]) -> list[int]:
    """Numbers of the shards whose images the receipts do not cover in full, ascending. Such shards are processed again as a whole."""
    planned, done = _images_by_shard(plan, final_receipts(receipts.values()))
    return sorted(shard for shard, count in planned.items() if done[shard] != count)


def publish(
    store: Store,
    config: RunConfig,
    receipts: Iterable[ShardReceipt],
    committed_at: datetime | None = None,
    assert_lease: Callable[[], None] = lambda: None,
    *,
    largest_part: int = LARGEST_PART,
) -> Manifest:
    """Commit a run: coalesce its parts, move them into their tables, write the manifest last, remove the staging folder.

    After an interruption, call it again with the same receipts or with `staged_receipts`. For a committed run it only removes staging.
    committed_at: UTC, now if None. assert_lease: called before each step that readers see; raises if another process holds the lease.
    largest_part: bytes of a file of coalesced parts; 0 keeps the parts of the shards. CommitError unless the receipts cover each planned
    image exactly once. What the deny list or the list of expired images names is left out, see `denied_receipts`.
    """
    if is_committed(store, config.run_id):
        remove_staging(store, config.run_id)
        return read_manifest(store, config.run_id)
    allowed = allowed_receipts(store, config, final_receipts(receipts), assert_lease)
    plan, chosen = _without(store, read_plan(store, config.run_id), allowed), allowed.receipts
    _check_cover(plan, chosen)
    begun = read_begun(store, config.run_id)
    parts = _to_publish(store, config, chosen, begun, assert_lease, largest=largest_part)
    manifest = _manifest(plan, chosen, parts, committed_at or datetime.now(UTC))
    manifest.check()
    note_begun(store, manifest, begun)
    for table in TABLES:
        present = {*store.list_files(run_folder(config, table)), *(path for path in begun if path.startswith(f"{table}/"))}
        _publish_table(store, config, present, [part for part in parts if part.table == table], assert_lease)
    assert_lease()
    store.write_bytes(manifest_file(config.run_id), manifest.to_bytes())
    store.remove_tree(staging_folder(config.run_id))
    return manifest


def remove_staging(store: Store, run_id: str) -> None:
    """Remove the staging folder of a committed run that was interrupted after its manifest. No process uses it, so no lease is needed."""
    store.remove_tree(staging_folder(run_id))


def _without(store: Store, plan: Plan, allowed: AllowedReceipts) -> Plan:
    """The plan without images whose content turned out to be denied or to have expired, in the place of the run's."""

    def planned(uris: Sequence[str]) -> pa.ChunkedArray:
        return pc.is_in(plan.images["image_uri"], value_set=pa.array(uris, pa.string()))

    denied, expired = planned(allowed.copies), planned(allowed.expired)
    if not pc.any(pc.or_(denied, expired), min_count=0).as_py():
        return plan
    counts = [pc.sum(mask).as_py() for mask in (denied, expired)]
    left = plan.images.filter(pc.invert(pc.or_(denied, expired)))
    plan = replace(plan, images=left, listed=plan.listed - sum(counts), denied=plan.denied + counts[0], expired=plan.expired + counts[1])
    replace_plan(store, plan)
    return plan


def _to_publish(
    store: Store, config: RunConfig, receipts: Sequence[ShardReceipt], begun: set[str], assert_lease: Callable[[], None], *, largest: int
) -> list[PartReceipt]:
    """The parts to publish: those of the shards, coalesced.

    A commit that began without coalescing, as in earlier releases, continues without it: parts that readers see are not moved again.
    """
    single = [part for receipt in receipts for part in receipt.parts]
    if single and begun >= {published_file(config, part) for part in single}:
        return single
    return coalesce(store, config, receipts, assert_lease, largest)


def set_aside(store: Store, run_id: str, paths: Iterable[str], assert_lease: Callable[[], None]) -> None:
    """Move files of a table back into the run's staging folder, which readers ignore. Missing files are skipped."""

    def move(path: str) -> None:
        if store.exists(path):
            assert_lease()
            store.move(path, f"{staging_folder(run_id)}/set-aside/{path}")

    store.for_each(move, sorted(paths))


def _publish_table(
    store: Store, config: RunConfig, present: set[str], parts: Iterable[PartReceipt], assert_lease: Callable[[], None]
) -> None:
    """Move the parts of a table, each atomically, in any order; see `paths.TABLES` for the order of tables.

    present: paths that an interrupted commit may have moved, from a listing and from its record.
    """
    promised = {published_file(config, part): part for part in parts}
    # parts of an interrupted commit of other receipts, such as the halves of a shard that was since finished as a whole:
    # moved first, so that no reader sees a face twice; removed with the staging folder
    set_aside(store, config.run_id, present - promised.keys(), assert_lease)
    staged = {path: staged_file(config.run_id, part) for path, part in sorted(promised.items())}
    moved = {path for path in staged if path in present and not store.exists(staged[path])}
    for path in sorted(moved):  # one at a time: each is read into memory
        if not _has_digest(store, path, promised[path]):
            raise CommitError(f"neither staged nor published as its receipt says: {path}")

    def move(path: str) -> None:
        assert_lease()
        store.move(staged[path], path)

    store.for_each(move, [path for path in staged if path not in moved])


def _manifest(plan: Plan, receipts: Sequence[ShardReceipt], published: Iterable[PartReceipt], committed_at: datetime) -> Manifest:
    config = plan.config
    statuses, expressions = Counter[str](), Counter[str]()
    for receipt in receipts:
        statuses.update(receipt.statuses)
        expressions.update(receipt.expressions)
    parts = [_part(config, part) for part in published]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        run_id=config.run_id,
        run_date=config.run_date,
        source=config.source,
        purpose=config.purpose,
        detector=config.detector_identity,
        model_name=config.model_name,
        model_digest=config.model_digest,
        pipeline_digest=config.pipeline_digest,
        config_digest=json_sha256(config.to_json()),
        config=config.to_json(),
        listed=plan.listed,
        unchanged=plan.unchanged,
        deleted=plan.deleted,
        excluded=plan.excluded,
        denied=plan.denied,
        expired=plan.expired,
        ignored=dict(plan.ignored),
        statuses={status: statuses[status] for status in IMAGE_STATUSES},
        faces=sum(receipt.faces for receipt in receipts),
        expressions={name: expressions[name] for name in EXPRESSIONS},
        parts=tuple(sorted(parts, key=lambda part: (TABLES.index(part.table), part.path))),
        started_at=datetime.fromtimestamp(config.started_us / 1e6, UTC).isoformat(timespec="microseconds"),
        committed_at=committed_at.astimezone(UTC).isoformat(timespec="microseconds"),
        seconds={stage: round(sum(receipt.seconds.get(stage, 0.0) for receipt in receipts), 3) for stage in STAGES},
        reused=sum(receipt.reused for receipt in receipts),
        timezone=config.timezone,
        failed_again=sum(receipt.failed_again for receipt in receipts),
        reasons=joined_reasons(receipt.reasons for receipt in receipts),
    )


def _part(config: RunConfig, part: PartReceipt) -> Part:
    return Part(part.table, published_file(config, part), part.rows, part.size, part.sha256)


def _check_cover(plan: Plan, receipts: Iterable[ShardReceipt]) -> None:
    """CommitError unless each planned image has one row. Counted per shard: the plan fixes the images of a shard."""
    planned, done = _images_by_shard(plan, receipts)
    for shard in sorted(planned.keys() | done.keys()):
        if planned[shard] != done[shard]:
            raise CommitError(f"run {plan.config.run_id} is not finished: shard {shard} has {done[shard]} of {planned[shard]} images")


def _images_by_shard(plan: Plan, receipts: Iterable[ShardReceipt]) -> tuple[Counter[int], Counter[int]]:
    """Planned images and finished images, by shard number."""
    counts = plan.images["shard"].value_counts().to_pylist()
    done: Counter[int] = Counter()
    for receipt in receipts:
        done[receipt.part.number] += sum(part.rows for part in receipt.parts if part.table == "images")
    return Counter({row["values"]: row["counts"] for row in counts}), done


def _read_receipt(store: Store, path: str) -> ShardReceipt | None:
    """None if it is not a receipt, or if a stale listing names a file that was removed."""
    try:
        return ShardReceipt.from_json(parse_object(store.read_bytes(path)))
    except StoreError:
        if store.exists(path):
            raise
        return None
    except (ValueError, KeyError, TypeError):
        return None


def _has_digest(store: Store, path: str, part: PartReceipt) -> bool:
    data = store.read_bytes(path)
    return len(data) == part.size and hashlib.sha256(data).hexdigest() == part.sha256
