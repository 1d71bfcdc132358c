"""Reuse results of earlier runs for images whose listing changed (touched, uploaded again, moved, copied) and whose content did not.

The bytes are read and their digest is compared; nothing is decoded. If results cannot be reused, for example because an earlier part is
missing or damaged, the image is processed like any other.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from fer_core.commit.part_reader import part_rows
from fer_core.decode.read_prefetch import ReadPrefetcher
from fer_core.errors import FerflowError, OutageError
from fer_core.run.configuration import RunConfig
from fer_core.run.shard_job import ImageRef
from fer_core.storage.paths import part_beside
from fer_core.storage.store import Store, read_uri
from fer_core.tables.schema import LABELED, NO_FACE, SCHEMAS


@dataclass(frozen=True, slots=True)
class ReusedLabels:
    """Reused rows. The run id, times and listing are those of this run; all other columns are those of the earlier run."""

    uris: frozenset[str]
    """The images of the rows."""
    tables: Mapping[str, pa.Table]
    """`labels`, `images` and, if crops are kept, `faces`, each in its schema."""


def reuse_previous_labels(
    store: Store, config: RunConfig, images: Iterable[ImageRef], on_progress: Callable[[str | None], None] = lambda _: None
) -> ReusedLabels:
    """Results of earlier runs for the images whose content has not changed.

    images: any; those without an `earlier_part` are skipped. on_progress: called with the URI of each image before it is read, and with
    None before an earlier part is read.
    """
    asked: dict[str, list[ImageRef]] = defaultdict(list)
    for ref in images:
        if ref.earlier_part is not None:
            asked[ref.earlier_part].append(ref)
    found = [tables for part, refs in asked.items() if (tables := _from_part(store, config, part, refs, on_progress)) is not None]
    joined = {name: pa.concat_tables([SCHEMAS[name].empty_table(), *(tables[name] for tables in found)]) for name in _names(config)}
    return ReusedLabels(frozenset(joined["images"]["image_uri"].to_pylist()), joined)


def _names(config: RunConfig) -> Sequence[str]:
    return ("labels", "images", "faces") if config.keep_crops else ("labels", "images")


def _from_part(
    store: Store, config: RunConfig, part: str, refs: Sequence[ImageRef], on_progress: Callable[[str | None], None]
) -> dict[str, pa.Table] | None:
    """Rows of one earlier part and its siblings. None if one of them cannot be read."""
    on_progress(None)
    try:
        uris = pa.array(sorted({_earlier(ref) for ref in refs}), pa.string())
        paths = {name: part_beside(part, name) for name in _names(config)}
        earlier = {name: part_rows(store.read_bytes(path), path, SCHEMAS[name], uris=uris) for name, path in paths.items()}
    except FerflowError:
        return None
    if "faces" in earlier:  # a crop that was removed for its age is made again where one is to be kept
        earlier["faces"] = earlier["faces"].filter(earlier["faces"]["crop_png"].is_valid())
    answers = {row["image_uri"]: row for row in earlier["images"].to_pylist()}
    faces = {name: _counts(rows) for name, rows in earlier.items() if name != "images"}
    possible = [
        ref
        for ref in refs
        if _can_be_taken(answers.get(_earlier(ref)), config.pipeline_digest)
        and all(count.get(_earlier(ref), 0) == answers[_earlier(ref)]["n_faces"] for count in faces.values())
    ]
    with ReadPrefetcher(possible, config.max_bytes, partial(read_uri, anonymous=config.anonymous)) as ahead:
        same = [ref for ref in possible if _sha256(ref, ahead, on_progress) == answers[_earlier(ref)]["image_sha256"]]
    return {name: _stamped(rows, SCHEMAS[name], config, same) for name, rows in earlier.items()}


def _earlier(ref: ImageRef) -> str:
    """The URI under which an earlier run has the result."""
    return ref.earlier_uri or ref.uri


def _can_be_taken(answer: dict[str, Any] | None, pipeline_digest: str) -> bool:
    """Only results of processed images: an image that was unreadable, or too large for the memory, is tried again."""
    return answer is not None and answer["pipeline_digest"] == pipeline_digest and answer["status"] in (LABELED, NO_FACE)


def _counts(rows: pa.Table) -> dict[str, int]:
    """Number of faces per image."""
    return {row["values"]: row["counts"] for row in rows["image_uri"].value_counts().to_pylist()}


def _sha256(ref: ImageRef, ahead: ReadPrefetcher, on_progress: Callable[[str | None], None]) -> str | None:
    """Current digest of the next image; None if it cannot be read. The error is reported when the image is processed."""
    on_progress(ref.uri)
    try:
        return hashlib.sha256(ahead.take(ref)).hexdigest()
    except OutageError:
        raise
    except FerflowError:
        return None


def _stamped(rows: pa.Table, schema: pa.Schema, config: RunConfig, refs: Sequence[ImageRef]) -> pa.Table:
    """The rows of some images, under their names of today and with the run id, times and listing of this run. rows: of an earlier run."""
    now: dict[str, Any] = {
        "run_id": config.run_id,
        "model_name": config.model_name,
        "labeled_at": config.started_us,
        "seen_at": config.started_us,
    }
    places: dict[str, list[int]] = defaultdict(list)
    for place, uri in enumerate(rows["image_uri"].to_pylist()):
        places[uri].append(place)
    listed = [ref for ref in refs for _ in places[_earlier(ref)]]
    rows = rows.take(pa.array([place for ref in refs for place in places[_earlier(ref)]], pa.int64()))
    now_listed: dict[str, list[Any]] = {"image_uri": [ref.uri for ref in listed], "bytes": [ref.size for ref in listed]}
    now_listed["etag"] = [ref.etag for ref in listed]
    now_listed["modified_at"] = [ref.modified_us for ref in listed]
    columns = [
        pa.array(now_listed[field.name], field.type)
        if field.name in now_listed
        else pa.array([now[field.name]] * rows.num_rows, field.type)
        if field.name in now
        else rows[field.name]
        for field in schema
    ]
    return pa.table(columns, schema=schema)
