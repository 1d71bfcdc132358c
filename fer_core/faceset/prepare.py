"""A raw face set -> an aligned one: decode, find five points, drop what straddles splits, align.

Two passes over the faces: the average framing, and the training pictures that are also held out, are known only after the first one. Only
digests and points stay in memory in between.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.registry import build
from fer_core.errors import FaceSetError
from fer_core.faceset import SPLITS, FaceSetCard, Row, read_card, read_rows
from fer_core.faceset.face_workers import DetectedFace, Pool, align_faces, detect_faces, face_workers, ordered_map
from fer_core.faceset.framing import mean_points
from fer_core.faceset.importers.raw import write_raw
from fer_core.faceset.importers.samples import Sample
from fer_core.faceset.staging import publish, staged
from fer_core.faceset.writer import FaceSetWriter

Progress = Callable[[str, int], None]
"""Called with the current step (`read`, `located`, `aligned`) and the number of faces done."""
OpenPool = Callable[[str, int], AbstractContextManager[Pool]]
"""A detector's spec and the number of processes -> the processes: `face_workers`, or a substitute."""
Fate = Literal["kept", "undecodable", "duplicate", "straddling"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """Data of one face of the raw set that stays in memory."""

    split: str
    identity: str | None
    look: DetectedFace


def _silent(doing: str, done: int) -> None:
    pass


def prepare(
    raw: Path, to: Path, detector: str, workers: int, progress: Progress = _silent, *, open_pool: OpenPool = face_workers
) -> FaceSetCard:
    """Align the raw face set `raw` and write the face set `to`, replacing an existing one.

    detector: a resolved spec; workers: processes. A training picture that is also in another split is left out, and so is one whose
    identity is; within a split copies stay, tied by `group` or `picture`.
    """
    card = read_card(raw)
    if not card.raw:
        raise FaceSetError(f"not a raw face set, its faces are aligned already: {raw}")
    identity = build(detector).identity  # here first: an error inside a worker process would not be shown
    with staged(to) as partial:
        with open_pool(detector, workers) as pool:
            whole = _aligned(raw, card, partial, pool, progress)
        return publish(partial, replace(whole, detector=identity))


def import_aligned(  # noqa: PLR0917  (a table of plain values)
    samples: Iterable[Sample],
    to: Path,
    name: str,
    detector: str,
    workers: int,
    progress: Progress = _silent,
    *,
    open_pool: OpenPool = face_workers,
) -> FaceSetCard:
    """The result of `importers.raw.import_raw` and then `prepare`, with a temporary raw set."""
    identity = build(detector).identity
    with staged(to) as partial:
        raw = partial / "raw"
        card = write_raw(samples, raw, name, lambda done: progress("read", done))
        with open_pool(detector, workers) as pool:
            whole = _aligned(raw, card, partial, pool, progress)
        return publish(partial, replace(whole, detector=identity))


def _aligned(raw: Path, card: FaceSetCard, to: Path, pool: Pool, progress: Progress) -> FaceSetCard:
    """Write the aligned splits into `to` and return their card, but for the detector's identity."""
    seen = list[_Seen]()
    for row, found in ordered_map(pool, detect_faces, ((row, row["crop"]) for row in _rows(raw, card))):
        seen.append(_Seen(row["split"], row["group"], found))
        progress("located", len(seen))
    fates = _fates(seen)
    framed = [face.look.points for face, fate in zip(seen, fates, strict=True) if fate == "kept"]
    if not framed:
        raise FaceSetError("no image of the set could be decoded")
    found_points = [points for points in framed if points is not None]
    usual = mean_points(np.array(found_points, np.float32))
    with FaceSetWriter(to) as writer:
        tasks = _tasks(_rows(raw, card), seen, fates, usual)
        for done, (row, crop) in enumerate(ordered_map(pool, align_faces, tasks), start=1):
            writer.add({**row, "crop": crop})
            progress("aligned", done)
        left_out = Counter(fates)
        whole = replace(
            card,
            raw=False,
            duplicates_removed=left_out["duplicate"],
            straddling_removed=left_out["straddling"],
            undecodable=card.undecodable + left_out["undecodable"],
            framed_by_points=round(len(found_points) / len(framed), 4),
        )
        return writer.finish(whole)


def _rows(raw: Path, card: FaceSetCard) -> Iterator[Row]:
    for split in SPLITS:
        if split in card.counts:
            yield from read_rows(raw, split)


def _fates(seen: list[_Seen]) -> list[Fate]:
    """Whether each face is kept or why it is removed. Held-out faces stay; training faces are removed."""
    held_out = [face for face in seen if face.split != "train" and face.look.digest]
    pictures = {face.look.digest for face in held_out}
    identities = {face.identity for face in held_out if face.identity}
    return [_failure_status(face, pictures, identities) for face in seen]


def _failure_status(face: _Seen, pictures: set[str], identities: set[str]) -> Fate:
    if not face.look.digest:
        return "undecodable"
    if face.split == "train" and face.look.digest in pictures:
        return "duplicate"
    return "straddling" if face.split == "train" and face.identity in identities else "kept"


def _tasks(
    rows: Iterable[Row], seen: list[_Seen], fates: list[Fate], usual: NDArray[np.float32]
) -> Iterator[tuple[Row, tuple[bytes, NDArray[np.float32]]]]:
    """Finished rows without their crop, and the input of each crop."""
    for row, face, fate in zip(rows, seen, fates, strict=True):
        if fate == "kept":
            points, digest = face.look.points, face.look.digest
            framing = "own" if points is None else "points"
            finished = {**row, "group": face.identity or digest, "picture": digest, "framing": framing}
            yield finished, (row["crop"], usual if points is None else points)
