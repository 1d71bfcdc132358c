"""Staged shard parts -> files of up to `LARGEST_PART` bytes, before any reader sees them.

A run of a thousand shards would publish a thousand small files per table, and readers open each file. The committer therefore merges the
parts of neighbouring shards in staging. All three tables use the same groups: the largest table limits a group, and the parts of the same
images have the same name in each table. Merged files are staged under their digests like other parts. A receipt names them, so that a
commit that is repeated after an interruption finds them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import pyarrow as pa

from fer_core.commit.part_reader import part_rows
from fer_core.errors import CommitError
from fer_core.json_reader import parse_json
from fer_core.run.configuration import RunConfig
from fer_core.run.part_name import PartName
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.storage.paths import TABLES, coalesced_receipt_file, published_file, staged_file
from fer_core.storage.store import Store
from fer_core.tables.builder import part_metadata
from fer_core.tables.parquet_writer import OverlapError, merged, write_merged, write_part
from fer_core.tables.schema import SCHEMAS

LARGEST_PART: Final = 128 * 2**20
"""Bytes of the parts of one table that become one file."""


def coalesce(
    store: Store, config: RunConfig, receipts: Iterable[ShardReceipt], assert_lease: Callable[[], None], largest: int = LARGEST_PART
) -> list[PartReceipt]:
    """Merge neighbouring shards' parts in staging and return the parts to publish, which lie in staging or in their table.

    receipts: one result per image, see `publish.final_receipts`. assert_lease: see `publish.publish`. largest: bytes. CommitError if a part
    with the digest of its receipt is neither staged nor published. Idempotent: the same receipts give the same parts.
    """
    parts: list[PartReceipt] = []
    for number, group in enumerate(group_receipts(receipts, largest)):
        if len(group) == 1:
            parts += group[0].parts
            continue
        name = _name(number, group)
        whole = _merged_before(store, config, name)
        if whole is None:
            assert_lease()
            whole = [_merge(store, config, name, of_table) for table in TABLES if (of_table := _of(table, group))]
            receipt = json.dumps([part.to_json() for part in whole])
            store.write_bytes(coalesced_receipt_file(config.run_id, name), receipt.encode())
        parts += whole
    return parts


def group_receipts(receipts: Iterable[ShardReceipt], largest: int) -> Iterator[list[ShardReceipt]]:
    """Groups of neighbouring shards, in order, each with at most `largest` bytes per table. A larger shard is a group of its own. Pure."""
    group: list[ShardReceipt] = []
    sizes = dict.fromkeys(TABLES, 0)
    for receipt in sorted(receipts, key=lambda one: one.part):
        own = {table: sum(part.size for part in receipt.parts if part.table == table) for table in TABLES}
        if group and any(sizes[table] + own[table] > largest for table in TABLES):
            yield group
            group, sizes = [], dict.fromkeys(TABLES, 0)
        group.append(receipt)
        sizes = {table: sizes[table] + own[table] for table in TABLES}
    if group:
        yield group


def part_exists(store: Store, config: RunConfig, part: PartReceipt) -> bool:
    """Whether a part is in staging or in its table, with the digest of its receipt."""
    return _content(store, config, part) is not None


def staged_rows(store: Store, config: RunConfig, part: PartReceipt) -> pa.Table:
    """Rows of a part that is in staging or in its table. CommitError if neither file has the digest of the receipt."""
    data = _content(store, config, part)
    if data is None:
        raise CommitError(f"neither staged nor published as its receipt says: {published_file(config, part)}")
    return part_rows(data, part.name.file, SCHEMAS[part.table], f"the run {config.run_id}")


def _name(number: int, group: Sequence[ShardReceipt]) -> PartName:
    """Name of a merged part. It contains a digest of the merged parts, so a commit of other receipts never reuses it."""
    digests = "".join(part.sha256 for receipt in group for part in receipt.parts)
    return PartName(number, (hashlib.sha256(digests.encode()).hexdigest()[:8],))


def _of(table: str, group: Sequence[ShardReceipt]) -> list[PartReceipt]:
    return [part for receipt in group for part in receipt.parts if part.table == table]


def _merge(store: Store, config: RunConfig, name: PartName, parts: Sequence[PartReceipt]) -> PartReceipt:
    """Stage one merged part of one table. Holds the merged file and the rows of one shard in memory."""
    table = parts[0].table
    try:
        data = write_merged((staged_rows(store, config, part) for part in parts), SCHEMAS[table], part_metadata(config))
    except OverlapError:  # shards of a run are ordered by URI; if a plan has overlapping shards, sort their rows in memory
        data = write_part(merged([staged_rows(store, config, part) for part in parts]), part_metadata(config))
    whole = PartReceipt(table, name, sum(part.rows for part in parts), len(data), hashlib.sha256(data).hexdigest())
    store.write_bytes(staged_file(config.run_id, whole), data)
    return whole


def _content(store: Store, config: RunConfig, part: PartReceipt) -> bytes | None:
    """The bytes of a part, from staging or from its table; None if neither file has the digest of the receipt."""
    for path in (staged_file(config.run_id, part), published_file(config, part)):
        if store.exists(path):
            data = store.read_bytes(path)
            if len(data) == part.size and hashlib.sha256(data).hexdigest() == part.sha256:
                return data
    return None


def _merged_before(store: Store, config: RunConfig, name: PartName) -> list[PartReceipt] | None:
    """The merged parts of an interrupted commit; None if it did not merge this group or if a part was lost."""
    path = coalesced_receipt_file(config.run_id, name)
    if not store.exists(path):
        return None
    try:
        found = parse_json(store.read_bytes(path))
        parts = [PartReceipt.from_json(value) for value in found] if isinstance(found, list) else []
    except (ValueError, TypeError):
        return None
    return parts if parts and all(part_exists(store, config, part) for part in parts) else None
