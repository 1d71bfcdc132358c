"""The manifest of a committed run: its counts and its parts with their digests. Writing its file is the commit point."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from fer_core.errors import CommitError
from fer_core.json_reader import parse_object
from fer_core.run.configuration import RunConfig
from fer_core.storage.paths import TABLES
from fer_core.validation import check_entries

MOST_BYTES: Final = 256 * 2**20
"""Largest manifest that is read: a million parts."""


@dataclass(frozen=True, slots=True)
class Part:
    """One published Parquet file."""

    table: str
    """`labels`, `images` or `faces`."""
    path: str
    """Relative to the labels root."""
    rows: int
    bytes: int
    sha256: str

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Parse a part whose path is in its table. TypeError or ValueError for other values."""
        part = cls(**value)
        check_entries(part)
        folders = part.path.split("/")
        if (
            part.table not in TABLES
            or folders[0] != part.table
            or len(folders) != 4
            or not {"", ".", ".."}.isdisjoint(folders)
            or min(part.rows, part.bytes) < 0
        ):
            raise ValueError(f"no part of a table: {part.path[:200]}")
        return part


@dataclass(frozen=True, slots=True)
class Manifest:
    """One committed run."""

    schema_version: int
    run_id: str
    run_date: str
    """Day of the plan, YYYY-MM-DD, in `timezone`."""
    source: str
    """SOURCE as the user gave it."""
    purpose: str
    detector: str
    """Identity of the detector."""
    model_name: str
    model_digest: str
    pipeline_digest: str
    config_digest: str
    """SHA-256 of `config` as canonical JSON."""
    config: dict[str, Any]
    """The `RunConfig` as JSON."""
    listed: int
    """Images in the listing."""
    unchanged: int
    """Listed images that were skipped because an earlier run has their results."""
    deleted: int
    """Images that earlier runs of the same source processed and that the listing no longer holds."""
    statuses: dict[str, int]
    """Images processed, by status; every status is a key."""
    faces: int
    """Rows in `labels`."""
    expressions: dict[str, int]
    """Faces by expression; every expression is a key."""
    parts: tuple[Part, ...]
    started_at: str
    """Time of the plan, ISO 8601, UTC."""
    committed_at: str
    """Time when this manifest was written, ISO 8601, UTC."""
    seconds: dict[str, float]
    """Busy seconds per stage, summed over workers."""
    reused: int = 0
    """Images whose content had not changed since an earlier run, or is that of another image, so that its results were reused. Version 0.1
    did not write it."""
    excluded: int = 0
    """Folders that were skipped, not part of `listed`: links that lead out of the source, and the names of `system_files`. Also the files
    and folders that default and given patterns exclude."""
    ignored: dict[str, int] = field(default_factory=dict)
    """Files that are no images by their names, by kind, see `collection.name_filter`. Not part of `listed`."""
    denied: int = 0
    """Images of the source that were forgotten and are left out, not part of `listed`. Earlier releases did not write it."""
    forgotten: int = 0
    """Images whose rows were removed from the run after its commit; they are not part of `listed` any more."""
    forgotten_faces: int = 0
    """Faces whose rows were removed from the run after its commit."""
    expired: int = 0
    """Images of the source whose rows were removed for their age, and that have not changed since, not part of `listed`. Earlier releases
    did not write it."""
    removed_for_age: dict[str, int] = field(default_factory=dict)
    """Rows that were removed from the run after its commit for their age, by table; those of `faces` lost their crop before, or alone."""
    timezone: str = "UTC"
    """Of `run_date`. Earlier releases took the day in UTC and did not write this."""
    failed_again: int = 0
    """Images quarantined by this run whose result before was quarantined, too."""
    reasons: dict[str, int] = field(default_factory=dict)
    """The commonest reasons of quarantined images, each after its status. It names no image."""
    compacting: tuple[Part, ...] = ()
    """Parts with which an interrupted compaction of an earlier release was replacing `parts`, table by table."""
    replaced: tuple[Part, ...] = ()
    """Committed parts that a compaction of an earlier release replaced."""

    forgetting: tuple[Part, ...] = ()
    """Parts that a removal of rows is replacing, as they will be; see `rewrite`."""

    def check(self) -> None:
        """CommitError unless labelled + no face + quarantined = listed - unchanged, and the rows of the parts equal the counts."""
        processed = sum(self.statuses.values())
        if processed != self.listed - self.unchanged:
            raise CommitError(f"run {self.run_id} accounts for {processed} images of {self.listed - self.unchanged}")
        rows = {table: sum(part.rows for part in self.parts if part.table == table) for table in ("images", "labels")}
        if rows["images"] != processed or rows["labels"] != self.faces or sum(self.expressions.values()) != self.faces:
            counted, held = f"{processed} images and {self.faces} faces", f"{rows['images']} and {rows['labels']} rows"
            raise CommitError(f"run {self.run_id} counts {counted}, its parts hold {held}")

    @property
    def has_crops(self) -> bool:
        """Whether the crops of its faces are in its parts."""
        return bool(self.parts_of("faces")) and "faces" not in self.removed_for_age

    def parts_of(self, table: str) -> Sequence[Part]:
        """The parts of one table."""
        return [part for part in self.parts if part.table == table]

    def with_new(self, tables: Collection[str]) -> Self:
        """A copy in which the parts of a compaction of an earlier release replace those of `tables`."""
        rest = tuple(part for part in self.compacting if part.table not in tables)
        new = [part for part in self.compacting if part.table in tables]
        old = tuple(part for part in self.parts if part.table in tables)
        kept = [part for part in self.parts if part.table not in tables]
        order = list(dict.fromkeys(part.table for part in self.parts))
        parts = sorted([*kept, *new], key=lambda part: (order.index(part.table), part.path))
        return replace(self, parts=tuple(parts), compacting=rest, replaced=(*self.replaced, *old))

    def run_config(self) -> RunConfig:
        """`config` as a record. CommitError if it is not valid."""
        try:
            return RunConfig.from_json(self.config)
        except (TypeError, ValueError, KeyError) as error:
            raise CommitError(f"the manifest of run {self.run_id} holds no configuration of a run ({error})") from error

    def to_bytes(self) -> bytes:
        """Indented JSON, UTF-8."""
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse the output of `to_bytes`. ValueError, KeyError or TypeError for other data."""
        value = parse_object(data, MOST_BYTES)
        parts = {name: tuple(Part.from_json(part) for part in value.get(name, ())) for name in ("compacting", "replaced", "forgetting")}
        manifest = cls(**{**value, **parts, "parts": tuple(Part.from_json(part) for part in value["parts"])})
        check_entries(manifest)
        if type(manifest.config.get("started_us")) is not int:
            raise ValueError("its configuration does not say when the run was planned")
        return manifest
