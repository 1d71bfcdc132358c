"""Staged shards without the rows that the deny list names, or the list of expired images, before anything of a run is visible.

The address of a denied or expired image is left out when a run is planned. A copy under another name, or a file that was written again, is
known only by its content, which the shard has read; a denied face only once it was detected. Their rows leave the staged parts here, under
new receipts.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.coalesce import staged_rows
from fer_core.commit.deny_list import DenyList, read_deny_list, write_deny_list
from fer_core.commit.expired_list import SEEN, read_expired_list, write_expired_list
from fer_core.commit.row_filter import FACE_KEYS, RowFilter, touches
from fer_core.run.configuration import RunConfig
from fer_core.run.receipts import PartReceipt, ShardReceipt
from fer_core.storage.paths import receipt_file, staged_file
from fer_core.storage.store import Store
from fer_core.tables.builder import part_metadata
from fer_core.tables.parquet_writer import write_part


@dataclass(frozen=True, slots=True)
class AllowedReceipts:
    """What of a run may be published."""

    receipts: list[ShardReceipt]
    copies: list[str]
    """Addresses of images with a denied content. They are denied from now on, and no receipt counts them."""
    expired: list[str]
    """Addresses of other images with an expired content, which no receipt counts either. As they are listed now, they have expired too."""


def allowed_receipts(
    store: Store, config: RunConfig, receipts: Sequence[ShardReceipt], assert_lease: Callable[[], None]
) -> AllowedReceipts:
    """The receipts without what is denied or has expired. Addresses of copies enter those lists first. Idempotent, also with the earlier
    receipts."""
    deny, aged = read_deny_list(store), read_expired_list(store)
    if deny.empty and aged.empty:
        return AllowedReceipts(list(receipts), [], [])
    touched, copies, expired = set(), list[str](), [SEEN.empty_table()]
    for receipt in receipts:
        for part in receipt.parts:
            if part.table == "images":
                rows = staged_rows(store, config, part)
                denied = deny.denies(rows)
                again = pc.and_not(aged.has_content(rows), denied)
                copies += rows.filter(denied)["image_uri"].to_pylist()
                expired.append(rows.filter(again).select(SEEN.names).cast(SEEN))
                if pc.any(pc.or_(touches(deny, rows), again), min_count=0).as_py():
                    touched.add(receipt.part)
    if copies and (named := deny.extended(copies)) != deny:
        assert_lease()
        write_deny_list(store, named)
    uris = [uri for rows in expired for uri in rows["image_uri"].to_pylist()]
    if uris and (more := aged.extended(expired)).images != aged.images:
        assert_lease()
        write_expired_list(store, more)
    without = deny.extended(uris)  # not written: these images are not denied
    left = [_allowed(store, config, receipt, without, assert_lease) if receipt.part in touched else receipt for receipt in receipts]
    return AllowedReceipts(left, copies, uris)


def _allowed(store: Store, config: RunConfig, receipt: ShardReceipt, deny: DenyList, assert_lease: Callable[[], None]) -> ShardReceipt:
    """One shard again without some rows. The earlier parts stay in staging until the commit removes it."""
    rows = {part.table: staged_rows(store, config, part) for part in receipt.parts}
    keep = RowFilter(deny, [rows["labels"].select(FACE_KEYS.names)])
    kept = {table: keep.kept(table, of_table) for table, of_table in rows.items()}
    assert_lease()
    parts = tuple(_stage(store, config, part, kept[part.table]) for part in receipt.parts)
    statuses, expressions = (Counter(kept[table][name].to_pylist()) for table, name in (("images", "status"), ("labels", "expression")))
    allowed = replace(
        receipt,
        parts=parts,
        statuses=dict(sorted(statuses.items())),
        expressions=dict(sorted(expressions.items())),
        faces=kept["labels"].num_rows,
        reused=min(receipt.reused, kept["images"].num_rows),
    )
    store.write_bytes(receipt_file(config.run_id, receipt.part), json.dumps(allowed.to_json(), indent=1).encode())
    return allowed


def _stage(store: Store, config: RunConfig, part: PartReceipt, rows: pa.Table) -> PartReceipt:
    data = write_part(rows, part_metadata(config))
    staged = replace(part, rows=rows.num_rows, size=len(data), sha256=hashlib.sha256(data).hexdigest())
    store.write_bytes(staged_file(config.run_id, staged), data)
    return staged
