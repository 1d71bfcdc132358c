"""Training sets: aligned faces with votes or a label, one Parquet file a split beside a small JSON card.

FACESET/faceset.json            name, kind, classes, detector, counts, digests
FACESET/faces-<split>.parquet   one row a face, `SCHEMA`
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, Self

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_core.errors import FaceSetError
from fer_core.labels import EXPRESSIONS
from fer_core.types import CROP_SIZE

SPLITS: Final = ("train", "valid", "test")
VOTE_COLUMNS: Final = (*(f"votes_{name}" for name in EXPRESSIONS), "votes_unknown", "votes_not_a_face")

SCHEMA: Final[pa.Schema] = pa.schema(
    [
        ("sample_id", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
        ("group", pa.string()),
        ("framing", pa.string()),
        ("label", pa.string()),
        *((name, pa.int32()) for name in VOTE_COLUMNS),
        ("crop", pa.binary()),
    ]
)
"""`group` ties what must not straddle splits (identity, or the digest of the original pixels); `framing` is how the face was aligned:
`points` (detector and aligner) or `own` (the set's usual framing); `label` and votes: at least one is there; `crop` is a 112x112 PNG."""

Kind = Literal["votes", "single"]
SHAPES: Final = ((CROP_SIZE, CROP_SIZE), (CROP_SIZE, CROP_SIZE, 3))
"""What a crop may decode to."""


@dataclass(frozen=True, slots=True)
class FaceSetCard:
    """What a face set is and how it was made."""

    name: str
    kind: Kind
    """`votes` where several raters voted on each face, `single` where each face has one label."""
    classes: tuple[str, ...]
    """Expressions that occur in this kind of set, in the house order."""
    detector: str
    """Identity of the detector that framed the faces."""
    counts: dict[str, int]
    """Faces by split, after removals."""
    duplicates_removed: int
    """Training faces left out because the very same picture is in another split."""
    framed_by_points: float
    """Share of faces framed by detector and aligner; the rest has the set's own framing."""
    undecodable: int = 0
    """Faces left out because their picture could not be decoded."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `write_card` wrote; anything else is a ValueError, TypeError or KeyError."""
        card = cls(**{**value, "classes": tuple(value["classes"])})
        if card.kind not in {"votes", "single"} or not set(card.classes) <= set(EXPRESSIONS):
            raise ValueError("kind or classes are not of this house")
        return card


@dataclass(frozen=True, slots=True)
class FaceSplit:
    """One split in memory. N faces."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    crops: NDArray[np.uint8]
    """(N, 112, 112) luma where every face is grey, else (N, 112, 112, 3) RGB."""
    votes: NDArray[np.float32]
    """(N, 10) raters by `VOTE_COLUMNS`; for single labels 1 at the label."""
    kind: Kind
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.intp]) -> "FaceSplit":
        """The faces at `index`, in that order."""
        ids, groups = (tuple(values[i] for i in index) for values in (self.ids, self.groups))
        return FaceSplit(ids, groups, self.crops[index], self.votes[index], self.kind, self.classes)


def make_folder(folder: Path) -> None:
    """The folder for a face set; where it cannot be written, a FaceSetError says so before the long work starts."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaceSetError(f"cannot write a face set to {folder} ({error.strerror})") from error
    if not os.access(folder, os.W_OK):
        raise FaceSetError(f"cannot write a face set to {folder} (permission denied)")


def clear(folder: Path) -> None:
    """Remove the face set that is in the folder: card first, so that no half of it passes for a whole."""
    try:
        (folder / "faceset.json").unlink(missing_ok=True)
        for split in SPLITS:
            (folder / f"faces-{split}.parquet").unlink(missing_ok=True)
    except OSError as error:
        raise FaceSetError(f"cannot write a face set to {folder} ({error.strerror})") from error


def write_split(folder: Path, split: str, rows: Iterator[dict[str, Any]]) -> int:
    """Write one split's rows (keys of `SCHEMA`) in batches; returns their number."""
    count, batch = 0, list[dict[str, Any]]()
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / f"faces-{split}.parquet", SCHEMA, compression="zstd") as writer:
        for row in rows:
            batch.append(row)
            count += 1
            if len(batch) == 2000:
                writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
                batch.clear()
        writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
    return count


def write_card(folder: Path, card: FaceSetCard) -> None:
    """Write the card last: a folder without it is not a face set."""
    (folder / "faceset.json").write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def read_card(folder: Path) -> FaceSetCard:
    """The card of a face set, or a FaceSetError."""
    file = folder / "faceset.json"
    if not file.is_file():
        raise FaceSetError(f"not a face set (no faceset.json): {folder}")
    try:
        return FaceSetCard.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, KeyError) as error:
        raise FaceSetError(f"damaged card: {file}") from error


def read_split(folder: Path, split: str) -> FaceSplit:
    """Read one split into memory: about 12 KiB a grey face, 37 KiB a coloured one."""
    card = read_card(folder)
    file = folder / f"faces-{split}.parquet"
    if not file.is_file():
        present = ", ".join(card.counts) or "none"
        raise FaceSetError(f"the face set has no split {split!r} (it has: {present}): {folder}")
    try:
        table = pq.read_table(file, schema=SCHEMA)
    except (pa.ArrowException, OSError) as error:
        raise FaceSetError(f"damaged split: {file}") from error
    if any(table[name].null_count for name in ("sample_id", "group", "crop")):
        raise FaceSetError(f"damaged split (values are missing): {file}")
    columns = [np.asarray(table[name].fill_null(0)) for name in VOTE_COLUMNS]
    votes = np.stack(columns, 1).astype(np.float32) if len(table) else np.zeros((0, len(VOTE_COLUMNS)), np.float32)
    if card.kind == "single":
        for row, label in enumerate(table["label"].to_pylist()):
            if label not in card.classes:
                raise FaceSetError(f"damaged split (label {label!r} is not one of the card's classes): {file}")
            votes[row, EXPRESSIONS.index(label)] = 1
    crops = _decoded(table["crop"], file)
    return FaceSplit(tuple(table["sample_id"].to_pylist()), tuple(table["group"].to_pylist()), crops, votes, card.kind, card.classes)


def _decoded(crops: pa.ChunkedArray, file: Path) -> NDArray[np.uint8]:
    """Crops as one array; one colour picture makes the whole array RGB."""
    pixels = []
    for crop in crops:
        data = np.frombuffer(crop.as_py(), np.uint8)
        picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
        if picture is None or picture.dtype != np.uint8 or picture.shape not in SHAPES:
            raise FaceSetError(f"damaged face in {file}")
        pixels.append(picture)
    if all(picture.ndim == 2 for picture in pixels):
        return np.stack(pixels) if pixels else np.zeros((0, CROP_SIZE, CROP_SIZE), np.uint8)
    rgb = [cv2.cvtColor(p, cv2.COLOR_GRAY2RGB) if p.ndim == 2 else cv2.cvtColor(p, cv2.COLOR_BGR2RGB) for p in pixels]
    return np.stack(rgb)


def carve_dev(split: FaceSplit, share: float) -> tuple[FaceSplit, FaceSplit]:
    """Part `share` of the groups off as a development part; which ones depends on the groups' names alone.

    Returns (rest, dev). No group is in both.
    """
    limit = int(share * 2**32)
    drawn = np.array([int(hashlib.sha256(group.encode()).hexdigest()[:8], 16) < limit for group in split.groups], bool)
    return split.take(np.flatnonzero(~drawn)), split.take(np.flatnonzero(drawn))


def vote_targets(votes: NDArray[np.float32], kind: Kind) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vote counts -> what the network should say, and how much the face counts.

    votes: (N, 10). Returns targets (N, 8), rows of sum 1 (uniform where nobody voted for an expression), and weights (N,) in [0, 1]:
    the share of raters who saw an expression at all, 0 where none did. Single votes are noise and dropped where others agree (FER+).
    """
    expressions = votes[:, : len(EXPRESSIONS)].copy()
    if kind == "votes":
        agreed = np.where(expressions > 1, expressions, 0)
        expressions = np.where(agreed.sum(1, keepdims=True) > 0, agreed, expressions)
    total = expressions.sum(1, keepdims=True)
    targets = np.where(total > 0, expressions / np.maximum(total, 1), 1 / len(EXPRESSIONS))
    weights = np.where(total[:, 0] > 0, votes[:, : len(EXPRESSIONS)].sum(1) / np.maximum(votes.sum(1), 1), 0)
    return targets.astype(np.float32), weights.astype(np.float32)
