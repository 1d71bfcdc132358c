"""Images and faces that were forgotten, and that no later run may label again: `_meta/denied.json`.

Names and digests are stored as HMAC-SHA256 under a random key of the root, so that it contains no names. The key lies in the same file:
a reader of the root can test a name or a photograph that is known already, and cannot read any from the list.
"""

import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from fer_core.errors import CommitError
from fer_core.json_reader import parse_object
from fer_core.storage.paths import META
from fer_core.storage.store import Store
from fer_core.tables.box_overlap import SAME_FACE, iou
from fer_core.validation import check_entries

FILE: Final = f"{META}/denied.json"
MOST_BYTES: Final = 256 * 2**20
"""Two million entries."""
BOX: Final = ("box_x", "box_y", "box_w", "box_h")


@dataclass(frozen=True, slots=True)
class DeniedFace:
    """A face by what outlives a change of the pipeline."""

    content: str
    """Keyed digest of the image's content."""
    box: tuple[float, float, float, float]
    """x, y, width, height, pixels of the upright image."""
    face_id: str
    """Keyed digest of the id by which it was named."""


@dataclass(frozen=True, slots=True)
class NamedFace:
    """One face as a run found it, in clear."""

    face_id: str
    image_sha256: str
    box: tuple[float, float, float, float]
    """x, y, width, height, pixels of the upright image."""


@dataclass(frozen=True, slots=True)
class DenyList:
    """Keyed digests of what was forgotten."""

    key: str
    """64 hexadecimal digits."""
    uris: frozenset[str] = frozenset()
    """Keyed digests of image URIs."""
    contents: frozenset[str] = frozenset()
    """Keyed digests of the SHA-256 of image contents."""
    faces: tuple[DeniedFace, ...] = ()
    pending: dict[str, Any] = field(default_factory=dict)
    """The audit record of a removal that was begun and may be unfinished; empty where there is none."""

    @classmethod
    def new(cls) -> Self:
        """An empty list with a new key."""
        return cls(secrets.token_hex(32))

    @property
    def empty(self) -> bool:
        """Whether it denies nothing."""
        return not (self.uris or self.contents or self.faces)

    def uri(self, text: str) -> str:
        """Keyed digest of an image URI."""
        return self._keyed("uri", text)

    def content(self, sha256: str) -> str:
        """Keyed digest of an image's content, from its SHA-256 in hexadecimal digits."""
        return self._keyed("content", sha256)

    def face(self, face_id: str) -> str:
        """Keyed digest of a face id."""
        return self._keyed("face", face_id)

    def extended(self, uris: Iterable[str] = (), contents: Iterable[str] = (), faces: Iterable[NamedFace] = ()) -> Self:
        """A copy that denies these as well, given in clear."""
        more = [DeniedFace(self.content(face.image_sha256), face.box, self.face(face.face_id)) for face in faces]
        return replace(
            self,
            uris=self.uris | {self.uri(text) for text in uris},
            contents=self.contents | {self.content(sha256) for sha256 in contents},
            faces=tuple(dict.fromkeys((*self.faces, *more))),
        )

    def denies(self, rows: pa.Table) -> pa.Array:
        """For each row whether its image is denied, by its address or its content. rows: with `image_uri`, `image_sha256` or both."""
        found = np.zeros(rows.num_rows, np.bool_)
        for name, keyed, entries in (("image_uri", self.uri, self.uris), ("image_sha256", self.content, self.contents)):
            if entries and name in rows.column_names:
                found |= _holds(rows[name], lambda text, keyed=keyed, entries=entries: keyed(text) in entries)
        return pa.array(found)

    def has_denied_faces(self, rows: pa.Table) -> pa.Array:
        """For each row whether some face of its image's content is denied. rows: with `image_sha256`."""
        images = {face.content for face in self.faces}
        if not images or "image_sha256" not in rows.column_names:
            return pa.array(np.zeros(rows.num_rows, np.bool_))
        return pa.array(_holds(rows["image_sha256"], lambda sha256: self.content(sha256) in images))

    def denied_faces(self, rows: pa.Table) -> pa.Array:
        """For each row whether its face is denied: its box overlaps a denied one by `SAME_FACE`. rows: with `image_sha256` and `BOX`."""
        found = np.zeros(rows.num_rows, np.bool_)
        boxes_of: dict[str, list[tuple[float, ...]]] = {}
        for face in self.faces:
            boxes_of.setdefault(face.content, []).append(face.box)
        candidates = np.flatnonzero(self.has_denied_faces(rows).to_numpy(zero_copy_only=False))
        asked = rows.take(pa.array(candidates))
        for row, sha256, *box in zip(
            candidates.tolist(), asked["image_sha256"].to_pylist(), *(asked[name].to_pylist() for name in BOX), strict=True
        ):
            denied = np.array(boxes_of[self.content(sha256)], np.float32)
            found[row] = None not in box and bool((iou(np.array([box], np.float32), denied) >= SAME_FACE).any())
        return pa.array(found)

    def to_bytes(self) -> bytes:
        """JSON, sorted: the same entries give the same bytes."""
        faces = sorted((asdict(face) for face in self.faces), key=lambda face: (face["content"], face["face_id"], face["box"]))
        value = {
            "version": 1,
            "key": self.key,
            "uris": sorted(self.uris),
            "contents": sorted(self.contents),
            "faces": faces,
            "pending": self.pending,
        }
        return (json.dumps(value, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """The inverse of `to_bytes`; ValueError, KeyError or TypeError for anything else."""
        value = parse_object(data, MOST_BYTES)
        if value["version"] != 1:
            raise ValueError("a deny list of another version")
        digests = {name: frozenset(_text(entry) for entry in value[name]) for name in ("uris", "contents")}
        faces = tuple(_face(entry) for entry in value["faces"])
        if len(bytes.fromhex(_text(value["key"]))) < 32 or not isinstance(value["pending"], dict):
            raise ValueError("a deny list without a key")
        return cls(value["key"], **digests, faces=faces, pending=value["pending"])

    def _keyed(self, kind: str, text: str) -> str:
        return hmac.digest(bytes.fromhex(self.key), f"{kind}\0{text}".encode("utf-8", "surrogateescape"), "sha256").hex()


def read_deny_list(store: Store) -> DenyList:
    """The deny list of a root; a new, empty one where nothing was forgotten. CommitError where it is damaged."""
    if not store.exists(FILE):
        return DenyList.new()
    try:
        return DenyList.from_bytes(store.read_bytes(FILE))
    except (ValueError, KeyError, TypeError) as error:
        raise CommitError(f"the deny list cannot be read: {store.url(FILE)}") from error


def write_deny_list(store: Store, deny: DenyList) -> None:
    """Replace the deny list in one step. The caller holds the root's lease."""
    store.write_bytes(FILE, deny.to_bytes())


def _holds(column: pa.ChunkedArray, wanted: Any) -> Any:  # noqa: ANN401  (a predicate of strings, a NumPy array of booleans)
    """For each value whether it is wanted; False for nulls. Each distinct value is asked about once."""
    import pyarrow.compute as pc

    distinct = pc.unique(column).to_pylist()
    named = pa.array([text for text in distinct if text is not None and wanted(text)], pa.string())
    return pc.is_in(column, value_set=named).combine_chunks().to_numpy(zero_copy_only=False)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a digest is a text")
    return value


def _face(value: Mapping[str, Any]) -> DeniedFace:
    face = DeniedFace(value["content"], tuple(float(number) for number in value["box"]), value["face_id"])  # type: ignore[arg-type]
    check_entries(face)
    return face
