"""Published parts of a committed run without some of their rows. One part is replaced in one step, under its own name.

The manifest first says what each part will be (`forgetting`), then the parts are replaced, then the manifest says what they are. In
between a part is the old or the new one, and `part_reader` accepts either. Images go first, then labels, then crops, in reverse of
publishing: a join from `images` never misses a label. Repeated after an interruption, it ends in the same bytes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import pyarrow as pa

from fer_core.commit.deny_list import DenyList
from fer_core.commit.manifest import Manifest, Part
from fer_core.commit.part_reader import UNREADABLE, checked_rows, part_bytes, read_part
from fer_core.commit.publish import read_manifest
from fer_core.commit.row_filter import FACE_KEYS, IDENTITY, RowFilter, touches
from fer_core.errors import CommitError
from fer_core.labels import EXPRESSIONS
from fer_core.storage.paths import TABLES, manifest_file
from fer_core.storage.store import Store
from fer_core.tables.parquet_writer import OverlapError, merged, write_merged, write_part
from fer_core.tables.schema import IMAGE_STATUSES, IMAGES, LABELS, SCHEMAS

_STATUS: Final = pa.schema([IMAGES.field("image_uri"), IMAGES.field("status")])
_EXPRESSION: Final = pa.schema([LABELS.field("image_uri"), LABELS.field("expression")])


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One part as it is to be."""

    part: Part
    data: bytes | None
    """Its bytes; None where the file is so already."""


class Kept(Protocol):
    """What remains of the rows of one run."""

    def kept(self, table: str, rows: pa.Table) -> pa.Table:
        """The rows as they are to be, in their order and schema. rows: of one table."""
        ...

    def counted(self, manifest: Manifest, images: int, faces: int) -> Manifest:
        """The manifest with what it says of rows that were removed. images, faces: how many of `images` and of `labels`."""
        ...


def rewrite_run(store: Store, run_id: str, deny: DenyList, assert_lease: Callable[[], None] = lambda: None) -> bool:
    """Remove what is denied from the parts of a committed run, and lower what its manifest promises. Returns whether it had to.

    The caller holds the root's lease. assert_lease: called before each change. CommitError where a part is missing or damaged.
    """
    manifest = replace(read_manifest(store, run_id), compacting=())  # its parts are those that are there
    touched = touched_parts(store, manifest, deny)
    return bool(touched or manifest.forgetting) and replace_parts(
        store, manifest, touched, row_filter(store, manifest, deny, touched), assert_lease
    )


def replace_parts(store: Store, manifest: Manifest, touched: Sequence[Part], keep: Kept, assert_lease: Callable[[], None]) -> bool:
    """Replace parts of a committed run by what remains of them. Returns whether one had to be. touched: all that may have to be."""
    new = {part.path: rewritten(store, part, keep).part for part in touched}
    changed = tuple(new[part.path] for part in touched if new[part.path] != part)
    if changed or manifest.forgetting:
        _write(store, replace(manifest, forgetting=changed), assert_lease)
        for part in sorted(touched, key=lambda part: -TABLES.index(part.table)):
            again = rewritten(store, part, keep)  # made twice: no copy of the rows lies anywhere meanwhile
            if again.part != new[part.path]:
                raise CommitError(f"a part of the committed run {manifest.run_id} has changed: {part.path}")
            if again.data is not None:
                assert_lease()
                store.write_bytes(part.path, again.data)
        _write(store, _lowered(store, manifest, [new.get(part.path, part) for part in manifest.parts], keep), assert_lease)
    return bool(changed)


def touched_parts(store: Store, manifest: Manifest, deny: DenyList) -> list[Part]:
    """Parts that may hold rows of denied images or faces, or that an interrupted removal was replacing. Reads the parts of `images`."""
    names = {_name(part) for part in manifest.forgetting}
    images = manifest.parts_of("images")
    for part in images:
        rows = read_part(store, part, IDENTITY, manifest.run_id)
        if any(touches(deny, rows).to_pylist()):
            names.add(_name(part))
    if not names:
        return []
    # parts of one name belong together; an earlier release may have compacted one table alone
    return [part for part in manifest.parts if _name(part) in names or _name(part) not in {_name(part) for part in images}]


def row_filter(store: Store, manifest: Manifest, deny: DenyList, parts: Sequence[Part]) -> RowFilter:
    """The filter for some parts of a run. parts: of all tables that hold rows of the same images."""
    return RowFilter(deny, (read_part(store, part, FACE_KEYS, manifest.run_id) for part in parts if part.table == "labels"))


def rewritten(store: Store, part: Part, keep: Kept) -> Rewritten:
    """A part without what is denied. Some row groups are in memory at a time, and the file."""
    data = part_bytes(store, part)
    schema, metadata, rows, same = SCHEMAS[part.table], _metadata(data), 0, True

    def kept() -> Iterator[pa.Table]:
        nonlocal rows, same
        for group in _groups(part, data):
            left = keep.kept(part.table, group)
            rows, same = rows + left.num_rows, same and left.equals(group)
            yield left

    try:
        new = write_merged(kept(), schema, metadata)
    except OverlapError:  # of a release whose parts were not sorted throughout
        rows, same = 0, True
        new = write_part(merged([schema.empty_table(), *kept()]), metadata)
    if same:
        return Rewritten(_described(part, rows, data), None)
    return Rewritten(_described(part, rows, new), new)


def _groups(part: Part, data: bytes) -> Iterator[pa.Table]:
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            for number in range(file.num_row_groups):
                yield checked_rows(file.read_row_group(number, use_threads=False), SCHEMAS[part.table])
    except UNREADABLE as error:
        raise CommitError(f"a part of a committed run is damaged: {part.path} ({' '.join(str(error).split())[:200]})") from error


def _metadata(data: bytes) -> dict[str, str]:
    """The provenance in the part, which stays."""
    import pyarrow.parquet as pq

    said = pq.read_schema(pa.BufferReader(data)).metadata or {}
    return {key.decode(): value.decode() for key, value in said.items() if key.startswith(b"fer.")}


def _described(part: Part, rows: int, data: bytes) -> Part:
    return replace(part, rows=rows, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def _lowered(store: Store, manifest: Manifest, parts: Sequence[Part], keep: Kept) -> Manifest:
    """The manifest of the parts as they are now. Counted from the rows, so that it does not matter which parts were replaced before."""
    counts = {
        "images": _counted(store, manifest.run_id, parts, "images", _STATUS),
        "labels": _counted(store, manifest.run_id, parts, "labels", _EXPRESSION),
    }
    processed, faces = counts["images"].total(), counts["labels"].total()
    images_gone, faces_gone = sum(manifest.statuses.values()) - processed, manifest.faces - faces
    lowered = replace(
        manifest,
        parts=tuple(parts),
        forgetting=(),
        statuses={status: counts["images"][status] for status in IMAGE_STATUSES},
        expressions={name: counts["labels"][name] for name in EXPRESSIONS},
        faces=faces,
        listed=manifest.listed - images_gone,
    )
    lowered = keep.counted(lowered, images_gone, faces_gone)
    lowered.check()
    return lowered


def _counted(store: Store, run_id: str, parts: Sequence[Part], table: str, schema: pa.Schema) -> Counter[str]:
    counts: Counter[str] = Counter()
    for part in parts:
        if part.table == table:
            counts.update(read_part(store, part, schema, run_id)[schema.names[-1]].to_pylist())
    return counts


def _write(store: Store, manifest: Manifest, assert_lease: Callable[[], None]) -> None:
    assert_lease()
    store.write_bytes(manifest_file(manifest.run_id), manifest.to_bytes())


def _name(part: Part) -> str:
    return part.path.rpartition("/")[2]
