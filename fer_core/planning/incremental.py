"""Index of the images that committed runs have processed, and the selection of listed images that are new or have changed."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.planning.copies import with_earlier_copies
from fer_core.run.configuration import Decoding
from fer_core.storage.spill import ROW_LIMITS, RowLimits, merge_by_key, sort_by_uri, sorted_runs, spill_tables
from fer_core.storage.store import REQUESTS_AT_ONCE, Store
from fer_core.storage.uri import local_path
from fer_core.tables.schema import CANDIDATES, IMAGES, INVENTORY, LABELED, MISSING, NO_FACE, QUARANTINE, TOO_LARGE, UNREADABLE, UNSUPPORTED

EARLIER_DECODING: Final = Decoding()

_BESIDES: Final = [
    ("final", pa.bool_()),
    ("failed", pa.bool_()),
    ("same_source", pa.bool_()),
    ("earlier_part", pa.dictionary(pa.int32(), pa.string())),
]

KNOWN: Final[pa.Schema] = pa.schema([*INVENTORY, *_BESIDES])
"""One row an image that a committed run has processed, listed as its latest run saw it; sorted by URI, no URI twice.

`final`: whether its latest result is of the given pipeline and is valid as long as the listing is the same. `failed`: whether its latest
result, of any pipeline, is in quarantine. `same_source`: whether any run
of the given source processed it. `earlier_part`: the images part with the latest result of that pipeline that another run can reuse if the
content is the same; null where there is none.
"""

_READ: Final = pa.schema([IMAGES.field(name) for name in (*INVENTORY.names, "image_sha256", "status", "pipeline_digest")])
_ANSWERS: Final = pa.schema(
    [*INVENTORY, ("final", pa.bool_()), ("failed", pa.bool_()), ("same_source", pa.bool_()), ("kept_in", pa.int32())]
)
"""Rows of one images part; `kept_in` is the part's number where the result can be reused."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A listing compared with the index."""

    new: pa.Table
    """`schema.CANDIDATES`: the listed images to be read, in the order of the listing."""
    unchanged: int
    """Listed images that need no reading."""
    deleted: int
    """Images that runs of this source processed and that are no longer in its listing, whenever they were deleted."""


def load_processed_index(
    store: Store, source: str, pipeline_digest: str, limits: RowLimits = ROW_LIMITS, decoding: Decoding = EARLIER_DECODING
) -> pa.Table:
    """`KNOWN` from the images parts of every committed run, by their manifests only, so that nothing half-published counts.

    source, pipeline_digest, decoding: of the new run. Deletions are counted for one source: an image that another folder, glob or list
    does not name is not deleted. CommitError when a part of a manifest is missing or damaged.
    """
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        manifests = pool.map(lambda run_id: read_manifest(store, run_id), committed_runs(store))
        # of two runs planned in the same microsecond, the one whose id sorts last counts as the later
        by_age = sorted(manifests, key=lambda manifest: (manifest.config["started_us"], manifest.run_id))
        parts = [(manifest, part) for manifest in by_age for part in manifest.parts_of("images")]

        def answers(number: int) -> pa.Table:
            manifest, part = parts[number]
            rows = _read(store, manifest, part)
            again = _readable_now(rows, Decoding.of(manifest.config), decoding)
            return _answers(rows, manifest.source == source, pipeline_digest, number, again)

        runs = sorted_runs(_in_turn(pool, answers, len(parts)), _ANSWERS, limits)
    paths = [part.path for _, part in parts]
    return spill_tables((_latest(pa.concat_tables(pieces), paths) for pieces in merge_by_key(runs, limits)), KNOWN, limits)


def select_changed(
    inventory: pa.Table,
    known: pa.Table,
    left_out: Sequence[str] = (),
    limits: RowLimits = ROW_LIMITS,
    *,
    force: bool = False,
    is_unlisted: Callable[[str], bool] = lambda uri: False,
) -> Selection:
    """Split a listing into images to be read and images that may be skipped.

    inventory: `schema.INVENTORY`. known: `KNOWN`. Of either, a part is in memory at a time, see `spill`. An image is skipped when its
    latest result is final and the listing has not changed: the same size, and the same etag where both have one, else the same modification
    time. Where such a value is unknown, the image is read again.

    left_out: folders that were not entered this time: whether images below them still exist is unknown, and they do not count as deleted.
    is_unlisted: whether an image of a URI is left out by its name, which is not deleted either. force: skip no image, and reuse no result.
    """
    unchanged = deleted = 0
    folders = sorted(f"{folder.rstrip('/')}/" for folder in left_out)

    def new() -> Iterator[pa.Table]:
        nonlocal unchanged, deleted
        for listed, before in merge_by_key([inventory, known], limits):
            selection = _select(listed, before, lambda uri: _is_below(uri, folders) or is_unlisted(uri), force)
            unchanged, deleted = unchanged + selection.unchanged, deleted + selection.deleted
            yield selection.new

    candidates = spill_tables(new(), CANDIDATES, limits)
    if not force:
        batches = (pa.Table.from_batches([batch]) for batch in candidates.to_batches())
        candidates = spill_tables((with_earlier_copies(batch, known) for batch in batches), CANDIDATES, limits)
    return Selection(candidates, unchanged, deleted)


def _select(inventory: pa.Table, known: pa.Table, is_unlisted: Callable[[str], bool], force: bool) -> Selection:
    """`select_changed` of tables that are in memory. is_unlisted: whether an image that is not listed does not count as deleted."""
    at = pc.index_in(inventory["image_uri"], value_set=known["image_uri"].combine_chunks())
    before = known.select(["bytes", "etag", "modified_at", "final"]).take(at)
    etags = pc.equal(inventory["etag"], before["etag"])
    same_content = pc.if_else(pc.is_valid(etags), etags, pc.equal(inventory["modified_at"], before["modified_at"]))
    same = pc.and_(pc.equal(inventory["bytes"], before["bytes"]), same_content)
    unknown = pc.invert(pc.fill_null(pc.and_(same, before["final"]), False))
    if force:
        unknown = pa.repeat(True, inventory.num_rows)
    new, found = inventory.filter(unknown), at.filter(unknown)
    earlier = pa.nulls(new.num_rows, pa.string()) if force else known["earlier_part"].take(found).cast(pa.string())
    failed = known["failed"].take(found)
    ours = known.filter(known["same_source"])
    gone = pc.invert(pc.is_in(ours["image_uri"], value_set=inventory["image_uri"].combine_chunks()))
    unchanged, deleted = inventory.num_rows - new.num_rows, pc.sum(gone).as_py() or 0
    if deleted:
        deleted -= sum(map(is_unlisted, ours["image_uri"].filter(gone).to_pylist()))
    new = new.append_column("earlier_part", earlier).append_column("failed_before", failed)
    return Selection(new.append_column("earlier_uri", pa.nulls(new.num_rows, pa.string())).cast(CANDIDATES), unchanged, deleted)


def _is_below(uri: str, folders: Sequence[str]) -> bool:
    """Whether an image lies below one of some folders, or was one of them. They are sorted, and none lies in another."""
    path = f"{local_path(uri)}/"
    at = bisect_right(folders, path)
    return at > 0 and path.startswith(folders[at - 1])


def _read(store: Store, manifest: Manifest, part: Part) -> pa.Table:
    """The columns of one images part that a plan needs."""
    return read_part(store, part, _READ, manifest.run_id)


def _readable_now(rows: pa.Table, before: Decoding, now: Decoding) -> pa.ChunkedArray:
    """Whether decoders or limits have come since that may read an image which was refused."""
    refused = [UNSUPPORTED, UNREADABLE] if now.decodes_more(before) else []
    size, was_long = rows["bytes"], pc.greater(rows["bytes"], before.max_bytes)
    allowed = pc.if_else(was_long, pc.less_equal(size, now.max_bytes), now.max_pixels > before.max_pixels)
    allowed = pc.fill_null(allowed, now.max_bytes > before.max_bytes or now.max_pixels > before.max_pixels)
    decodable = pc.is_in(rows["status"], value_set=pa.array(refused, pa.string()))
    return pc.or_(decodable, pc.and_(pc.equal(rows["status"], TOO_LARGE), allowed))


def _answers(rows: pa.Table, same_source: bool, pipeline_digest: str, number: int, again: pa.ChunkedArray) -> pa.Table:
    """`_ANSWERS` of one part. Not final are `missing`, and `unreadable` without a digest: permission was denied, no byte came.

    again: which images are read again whatever their result was.
    """
    never_read = pc.and_(pc.equal(rows["status"], UNREADABLE), pc.is_null(rows["image_sha256"]))
    ours = pc.fill_null(pc.equal(rows["pipeline_digest"], pipeline_digest), False)
    final = pc.fill_null(pc.and_not(pc.and_(ours, pc.not_equal(rows["status"], MISSING)), pc.or_(never_read, again)), False)
    looked_at = pc.is_in(rows["status"], value_set=pa.array([LABELED, NO_FACE]))
    kept = pc.and_(pc.and_(ours, looked_at), pc.is_valid(rows["image_sha256"]))
    columns = [rows[name].cast(INVENTORY.field(name).type) for name in INVENTORY.names]
    columns += [
        final,
        pc.is_in(rows["status"], value_set=pa.array(QUARANTINE)),
        pa.repeat(same_source, rows.num_rows),
        pc.if_else(kept, pa.scalar(number, pa.int32()), None),
    ]
    return pa.table(columns, schema=_ANSWERS)


def _in_turn(pool: Executor, answers: Callable[[int], pa.Table], count: int) -> Iterator[pa.Table]:
    """Results 0 to `count - 1`, in order, with a bounded number in flight."""
    submitted = deque[Future[pa.Table]]()
    for number in range(count):
        submitted.append(pool.submit(answers, number))
        if len(submitted) > REQUESTS_AT_ONCE:
            yield submitted.popleft().result()
    while submitted:
        yield submitted.popleft().result()


def _latest(rows: pa.Table, parts: Sequence[str]) -> pa.Table:
    """The last of `_ANSWERS` for each URI, as `KNOWN`. parts: the paths behind the numbers, which rise with the runs' age."""
    numbered = rows.select(["image_uri", "same_source", "kept_in"]).append_column("row", pa.array(np.arange(rows.num_rows)))
    wanted = [("row", "max"), ("same_source", "any"), ("kept_in", "max")]
    found = numbered.group_by("image_uri").aggregate(wanted).select(["row_max", "same_source_any", "kept_in_max"]).combine_chunks()
    known = rows.select([*INVENTORY.names, "final", "failed"]).take(found["row_max"])
    kept_in = found["kept_in_max"].combine_chunks()
    earlier = pa.DictionaryArray.from_arrays(kept_in, pa.array(parts, pa.string()))
    known = known.append_column("same_source", found["same_source_any"]).append_column("earlier_part", earlier)
    return sort_by_uri(known.cast(KNOWN))
