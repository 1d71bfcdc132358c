"""What committed runs have already answered, and so which listed images are new tonight."""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit import committed_runs, read_manifest
from fer_core.errors import CommitError
from fer_core.schema import IMAGES, MISSING, UNREADABLE
from fer_core.store import Store

_COLUMNS: Final = ("image_uri", "image_sha256", "bytes", "etag", "modified_at", "status", "pipeline_digest", "seen_at", "run_id")

KNOWN: Final[pa.Schema] = pa.schema([*(pa.field(name, IMAGES.field(name).type) for name in _COLUMNS), pa.field("same_source", pa.bool_())])
"""One row an image that a committed run has processed, as its latest run saw it; no URI twice.

`same_source`: whether any run of the source in question processed it.
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """What tonight's listing means, given what is known."""

    new: pa.Table
    """`schema.INVENTORY`: the listed images to be read, in the order of the listing."""
    unchanged: int
    """Listed images that need no reading."""
    deleted: int
    """Images that runs of this source processed and that its listing no longer holds, however long ago they went."""


def known_images(store: Store, source: str) -> pa.Table:
    """`KNOWN` from the images parts of every committed run, following their manifests only, so that nothing half-published counts.

    source: SOURCE of the run that asks. Deletions are a matter of one source: an image that another folder, glob or list does not name
    has not gone. CommitError when a promised part is missing or damaged.
    """
    tables = [_answered(store, run_id, source) for run_id in committed_runs(store)]
    return _latest(pa.concat_tables([KNOWN.empty_table(), *tables]))


def select_new(inventory: pa.Table, known: pa.Table, pipeline_digest: str) -> Selection:
    """Split a listing into images to be read and images that may be skipped.

    inventory: `schema.INVENTORY`. known: `KNOWN`. An image is skipped when its latest row is of the same pipeline and final, and the
    listing has not changed: same size, and same etag where both have one, else same modification time. Where a value that would decide is
    unknown, the image is read again. Not final are `missing`, and `unreadable` without a digest: permission was denied, no byte came.
    """
    at = pc.index_in(inventory["image_uri"], value_set=known["image_uri"].combine_chunks())
    before = known.take(at)
    etags = pc.equal(inventory["etag"], before["etag"])
    same_content = pc.if_else(pc.is_valid(etags), etags, pc.equal(inventory["modified_at"], before["modified_at"]))
    same = pc.equal(inventory["bytes"], before["bytes"])
    never_read = pc.and_(pc.equal(before["status"], UNREADABLE), pc.is_null(before["image_sha256"]))
    final = pc.and_not(pc.not_equal(before["status"], MISSING), never_read)
    for condition in (same_content, pc.equal(before["pipeline_digest"], pipeline_digest), final):
        same = pc.and_(same, condition)
    skip = pc.fill_null(same, False)
    ours = known.filter(known["same_source"])
    gone = pc.invert(pc.is_in(ours["image_uri"], value_set=inventory["image_uri"].combine_chunks()))
    new = inventory.filter(pc.invert(skip))
    return Selection(new, inventory.num_rows - new.num_rows, pc.sum(gone).as_py() or 0)


def _answered(store: Store, run_id: str, source: str) -> pa.Table:
    """The rows of one run."""
    import pyarrow.parquet as pq  # noqa: PLC0415  (only planning reads Parquet)

    manifest = read_manifest(store, run_id)
    tables = []
    for part in manifest.parts_of("images"):
        if not store.exists(part.path):
            raise CommitError(f"a part of the committed run {run_id} is missing: {part.path}")
        try:
            tables.append(pq.read_table(pa.BufferReader(store.read_bytes(part.path)), columns=list(_COLUMNS)))
        except (pa.ArrowException, OSError) as error:
            raise CommitError(f"a part of the committed run {run_id} is damaged: {part.path}") from error
    rows = pa.concat_tables([table.cast(pa.schema(list(KNOWN)[:-1])) for table in tables] or [KNOWN.empty_table().drop(["same_source"])])
    return rows.append_column("same_source", pa.repeat(manifest.source == source, rows.num_rows))


def _latest(rows: pa.Table) -> pa.Table:
    """The latest row of each URI; of two runs planned in the same microsecond, the one whose id sorts last."""
    ours = rows.filter(rows["same_source"])["image_uri"]
    rows = rows.sort_by([("image_uri", "ascending"), ("seen_at", "descending"), ("run_id", "descending")])
    uris = rows["image_uri"].combine_chunks()
    first = pc.fill_null(pc.not_equal(uris[1:], uris[:-1]), True)
    rows = rows.filter(pa.concat_arrays([pa.array([True] * min(1, len(uris)), pa.bool_()), first]))
    return rows.set_column(rows.num_columns - 1, "same_source", pc.is_in(rows["image_uri"], value_set=ours.combine_chunks()))
