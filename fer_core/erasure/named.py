"""What a request means: addresses and contents of images that a root knows, from addresses, digests or face ids. Changes nothing."""

import hashlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from fer_core.commit.deny_list import BOX, NamedFace
from fer_core.commit.part_reader import read_part
from fer_core.commit.publish import committed_runs, read_manifest
from fer_core.commit.row_filter import FACE_KEYS, IDENTITY
from fer_core.erasure.staged import staged_tables
from fer_core.errors import CommitError, FerflowError, UsageError
from fer_core.review.history import history
from fer_core.run.configuration import MAX_BYTES
from fer_core.storage.store import Store, read_uri
from fer_core.storage.uri import scheme
from fer_core.tables.schema import LABELS

_FACE: Final = pa.schema([LABELS.field("face_id"), *FACE_KEYS])
SHA256: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Named:
    """What a request means, in clear."""

    uris: frozenset[str] = frozenset()
    contents: frozenset[str] = frozenset()
    """SHA-256 of image contents, hexadecimal."""
    faces: tuple[NamedFace, ...] = ()


def named_images(store: Store, uris: Collection[str] = (), contents: Collection[str] = ()) -> Named:
    """Images by address or digest: every content that was seen at the addresses, and the addresses whose newest content is one of these.

    The addresses and digests of the request are part of the result, also where the root does not know them.
    """
    asked, wanted = pa.array(sorted(uris), pa.string()), set(contents)
    for rows in _images(store) if uris else ():
        wanted.update(rows["image_sha256"].filter(pc.is_in(rows["image_uri"], value_set=asked)).to_pylist())
    wanted.discard(None)
    known, newest = pa.array(sorted(wanted), pa.string()), dict.fromkeys(uris, True)
    for rows in _images(store) if wanted else ():
        read = rows.filter(pc.is_valid(rows["image_sha256"]))
        copies = pc.is_in(read["image_sha256"], value_set=known)
        again = pc.is_in(read["image_uri"], value_set=pa.array(list(newest), pa.string()))
        for row in read.filter(pc.or_(copies, again)).to_pylist():
            newest[row["image_uri"]] = row["image_sha256"] in wanted or row["image_uri"] in uris
    return Named(frozenset(uri for uri, named in newest.items() if named), frozenset(wanted))


def named_faces(store: Store, face_ids: Collection[str]) -> Named:
    """Faces by id, each where a committed run found it. CommitError where no run has one of them."""
    wanted, found, missing = pa.array(sorted(face_ids), pa.string()), dict[NamedFace, None](), set(face_ids)
    for run_id in committed_runs(store):
        for part in read_manifest(store, run_id).parts_of("labels"):
            rows = read_part(store, part, _FACE, run_id)
            for row in rows.filter(pc.is_in(rows["face_id"], value_set=wanted)).to_pylist():
                missing.discard(row["face_id"])
                x, y, width, height = (row[name] for name in BOX)
                found[NamedFace(row["face_id"], row["image_sha256"], (x, y, width, height))] = None
    if missing:
        raise CommitError(f"no committed run has {len(missing)} of the faces that were named")
    return Named(faces=tuple(found))


def _images(store: Store) -> Iterator[pa.Table]:
    """Addresses and digests of all images that the root knows, `IDENTITY`, the newest last."""
    yield history(store).select(IDENTITY.names)
    manifests = [read_manifest(store, run_id) for run_id in committed_runs(store)]
    for manifest in sorted(manifests, key=lambda manifest: (manifest.config["started_us"], manifest.run_id)):
        for part in manifest.parts_of("images"):
            yield read_part(store, part, IDENTITY, manifest.run_id)
    for staged in staged_tables(store):
        if staged.rows is not None and set(IDENTITY.names) <= set(staged.rows.column_names):
            yield staged.rows.select(IDENTITY.names)


def image_uri(text: str) -> str:
    """An address as tables have it: URLs and absolute paths verbatim, a relative path from the working folder, `~` as the home."""
    path = os.path.expanduser(text)
    return text if scheme(text) != "file" or text.startswith(("file:", "/")) else path if os.path.isabs(path) else os.path.abspath(path)


def sha256_of(text: str) -> str:
    """The digest in lower case. UsageError where it is none."""
    if not SHA256.fullmatch(text.lower()):
        raise UsageError("a digest has 64 hexadecimal digits")
    return text.lower()


def content_at(uri: str) -> str | None:
    """SHA-256 of the image that is at an address now; None where it cannot be read."""
    try:
        return hashlib.sha256(read_uri(uri, MAX_BYTES)).hexdigest()
    except FerflowError:
        return None
