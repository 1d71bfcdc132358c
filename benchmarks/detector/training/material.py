"""The labelled pictures a detector learns from: one Parquet file with encoded pictures and their faces, made once by the teacher."""

import csv
import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_core.errors import UsageError
from fer_core.types import Faces

SCHEMA: Final = pa.schema(
    [("kind", pa.string()), ("name", pa.string()), ("picture", pa.binary()), ("faces", pa.list_(pa.list_(pa.float32(), 15)))]
)
PORTRAIT: Final = "portrait"
LOOSE: Final = "loose"
"""A loose crop of one face: nothing but the face and a little around it."""
SMALL: Final = "small"
"""A tight grey crop of 48 px."""
SCENE: Final = "scene"
"""A photograph of a street or of several people."""


@dataclass(frozen=True, slots=True)
class Found:
    """One picture before the teacher has seen it."""

    kind: str
    name: str
    data: bytes
    """The encoded file."""


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """One picture with what the teacher sees in it."""

    kind: str
    name: str
    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    faces: Faces


def found(data: Path, small: int) -> Iterator[Found]:
    """What there is under `data`: portraits/stock.zip, muxspace, photos/unannotated, and `small` pictures of ferplus/FER2013Train.zip.

    Of muxspace only the identities that benchmarks/accuracy/muxspace.py calls `train`: its `test` judges whole pictures.
    """
    yield from _zipped(data / "portraits" / "stock.zip", PORTRAIT, None)
    with (data / "muxspace" / "labels.csv").open(newline="", encoding="utf-8") as table:
        learned = {row["image"] for row in csv.DictReader(table) if _share(row["identity"]) >= 0.25}
    yield from _zipped(data / "muxspace" / "images.zip", LOOSE, learned)
    for file in sorted((data / "photos" / "unannotated").iterdir()):
        yield Found(SCENE, file.name, file.read_bytes())
    if small:
        with zipfile.ZipFile(data / "ferplus" / "FER2013Train.zip") as archive:
            names = sorted((name for name in archive.namelist() if name.endswith(".png")), key=_share)[:small]
            yield from (Found(SMALL, name, archive.read(name)) for name in names)


def held_out(name: str) -> bool:
    """Whether a picture is kept for choosing the threshold and the state of the network: one in twelve, by its name's digest."""
    return _share("held out " + name) < 1 / 12


def write(pictures: Iterable[tuple[Found, Faces]], to: Path) -> int:
    """Write the file; returns the number of pictures."""
    count = 0
    with pq.ParquetWriter(to, SCHEMA, compression="none") as writer:
        for picture, faces in pictures:
            rows = np.concatenate([faces.boxes, faces.points.reshape(-1, 10), faces.scores[:, None]], axis=1).tolist()
            row = {"kind": picture.kind, "name": picture.name, "picture": picture.data, "faces": rows}
            writer.write_table(pa.Table.from_pylist([row], schema=SCHEMA))
            count += 1
    return count


def read(files: Iterable[Path]) -> list[TrainingImage]:
    """All pictures of files that `write` made, decoded. UsageError: a file is missing or is none of those."""
    pictures = []
    for file in files:
        for batch in _opened(file).iter_batches(batch_size=64):
            for row in batch.to_pylist():
                rows = np.array(row["faces"], np.float32).reshape(-1, 15)
                faces = Faces(rows[:, :4], rows[:, 4:14].reshape(-1, 5, 2), rows[:, 14])
                pictures.append(TrainingImage(row["kind"], row["name"], decoded(row["picture"]), faces))
    return pictures


def _opened(file: Path) -> pq.ParquetFile:
    if not file.is_file():
        raise UsageError(f"no labelled pictures: {file}")
    try:
        opened = pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise UsageError(f"not a file of labelled pictures: {file}") from error
    if opened.schema_arrow.names != SCHEMA.names:
        raise UsageError(f"not a file of labelled pictures: {file}")
    return opened


def material_digest(pictures: Iterable[TrainingImage]) -> str:
    """SHA-256 over names, sizes and faces: whether two runs learn from the same."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(f"{picture.kind} {picture.name} {picture.pixels.shape}".encode())
        digest.update(picture.faces.boxes.tobytes() + picture.faces.points.tobytes() + picture.faces.scores.tobytes())
    return digest.hexdigest()


def decoded(data: bytes) -> NDArray[np.uint8]:
    """An encoded picture -> (H, W, 3) RGB."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


def _zipped(file: Path, kind: str, only: set[str] | None) -> Iterator[Found]:
    with zipfile.ZipFile(file) as archive:
        for name in sorted(archive.namelist()):
            if name.lower().endswith((".jpg", ".jpeg", ".png")) and (only is None or Path(name).name in only):
                yield Found(kind, name, archive.read(name))


def _share(name: str) -> float:
    """A fixed number in [0, 1) of a name, as benchmarks/accuracy/muxspace.py draws it."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2.0**32
