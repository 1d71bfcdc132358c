"""Face sets from disk, a row group at a time: only the requested columns stay in memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fer_core.decode.crop_image import LIMITS as CROP_LIMITS
from fer_core.decode.crop_image import decode_crop
from fer_core.errors import FaceSetError, ImageError
from fer_core.faceset.card import FaceSetCard, read_card
from fer_core.faceset.schema import PICTURE_BYTES, SCHEMA, VOTE_COLUMNS, Row, split_file
from fer_core.faceset.split import UNANIMOUS, FaceSplit
from fer_core.labels import EXPRESSIONS
from fer_core.tables.unpacked_size import check_group
from fer_core.types import CROP_SIZE

SHAPE = (CROP_SIZE, CROP_SIZE)


def read_split(folder: Path, split: str, luma: bool = False) -> FaceSplit:
    """Read one split of an aligned set into memory: 12 KiB a grey face, 37 KiB a coloured one.

    luma: crops as (N, 112, 112) luma by ITU-R BT.601, whatever they were stored as. FaceSetError: the set is raw or damaged.
    """
    card = read_card(folder)
    if card.raw:
        raise FaceSetError(f"a raw face set, its faces are not aligned: run `ferflow dataset prepare {folder} --to FACESET` first")
    file = _present(folder, split, card)
    crops = _crops(file, luma)
    ids, groups, pictures = list[str](), list[str](), list[str]()
    votes = [np.zeros((0, len(VOTE_COLUMNS)), np.float32)]
    names = [name for name in SCHEMA.names if name not in {"source", "split", "framing"}]
    for table in _tables(file, names, CROP_LIMITS.max_bytes):
        _check_whole(table, ("sample_id", "group", "crop"), file)
        ids += table["sample_id"].to_pylist()
        groups += table["group"].to_pylist()
        pictures += _pictures(table)
        votes.append(_votes(table, card, file))
        for crop in table["crop"]:
            crops.add(crop.as_py(), file)
    return FaceSplit(tuple(ids), tuple(groups), crops.pixels, np.concatenate(votes), card.kind, card.classes, tuple(pictures))


def held_out_pictures(folder: Path) -> frozenset[str]:
    """Digests of the pictures in every split but `train`, for `join`. No face is decoded."""
    card = read_card(folder)
    found = set[str]()
    for split in card.counts.keys() - {"train"}:
        file = _present(folder, split, card)
        for table in _tables(file, ["group", "picture"], 0):
            _check_whole(table, ("group",), file)
            found.update(_pictures(table))
    return frozenset(found)


def read_rows(folder: Path, split: str) -> Iterator[Row]:
    """The rows of one split, aligned or raw, as they are in the file. The card need not exist yet."""
    file = split_file(folder, split)
    for table in _tables(file, SCHEMA.names, PICTURE_BYTES):
        _check_whole(table, ("sample_id", "split", "crop"), file)
        yield from table.to_pylist()


def _present(folder: Path, split: str, card: FaceSetCard) -> Path:
    file = split_file(folder, split)
    if not file.is_file():
        present = ", ".join(card.counts) or "none"
        raise FaceSetError(f"the face set has no split {split!r} (it has: {present}): {folder}")
    return file


def _crops(file: Path, luma: bool) -> "_Crops":
    """Room for the faces of a split."""
    try:
        with pq.ParquetFile(file) as opened:
            return _Crops(int(opened.metadata.num_rows), luma)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise FaceSetError(f"damaged split: {file}") from error
    except MemoryError as error:
        raise FaceSetError(f"the faces of the split do not fit into memory, or its header counts too many rows: {file}") from error


def _tables(file: Path, names: Sequence[str], picture_bytes: int) -> Iterator[pa.Table]:
    """Some rows at a time, in the types of `SCHEMA`. A column that the file lacks is null.

    picture_bytes: of one picture, at most. A column whose metadata has a larger unpacked size is not read.
    """
    schema = pa.schema([SCHEMA.field(name) for name in names])
    try:
        with pq.ParquetFile(file) as opened:
            stored = [name for name in names if name in opened.schema_arrow.names]
            for number in range(opened.num_row_groups):
                check_group(opened.metadata.row_group(number), stored, {"crop": picture_bytes})
                group = opened.read_row_group(number, stored)
                columns = [
                    group[name].cast(schema.field(name).type) if name in stored else pa.nulls(group.num_rows, schema.field(name).type)
                    for name in names
                ]
                yield pa.table(columns, schema=schema)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise FaceSetError(f"damaged split: {file} ({' '.join(str(error).split())[:200]})") from error
    except MemoryError as error:
        raise FaceSetError(f"the split does not fit into memory: {file}") from error


def _check_whole(table: pa.Table, names: Sequence[str], file: Path) -> None:
    if any(table[name].null_count for name in names):
        raise FaceSetError(f"damaged split (values are missing): {file}")


def _pictures(table: pa.Table) -> list[str]:
    """Digests; a set of an older release has no column for them, and `group` is used."""
    found: list[str] = pc.coalesce(table["picture"], table["group"]).to_pylist()
    return found


def _votes(table: pa.Table, card: FaceSetCard, file: Path) -> NDArray[np.float32]:
    """(N, 10)."""
    votes = np.stack([np.asarray(table[name].fill_null(0)) for name in VOTE_COLUMNS], 1).astype(np.float32)
    if card.kind == "single":
        for row, label in enumerate(table["label"].to_pylist()):
            if label not in card.classes:
                raise FaceSetError(f"damaged split (label {label!r} is not one of the card's classes): {file}")
            votes[row] = 0
            votes[row, EXPRESSIONS.index(label)] = UNANIMOUS
    return votes


class _Crops:
    """Decodes crops one by one into one array, which turns RGB with the first coloured face, or stays luma."""

    def __init__(self, count: int, luma: bool) -> None:
        self.pixels: NDArray[np.uint8] = np.empty((count, *SHAPE), np.uint8)
        self._luma, self._next = luma, 0

    def add(self, data: bytes, file: Path) -> None:
        try:
            crop = decode_crop(data)
        except ImageError as error:
            raise FaceSetError(f"damaged face in {file} ({error.reason})") from error
        if self._next == len(self.pixels):
            raise FaceSetError(f"damaged split (more rows than its header counts): {file}")
        if crop.ndim == 3 and self._luma:
            crop = luma_of(crop)
        if crop.ndim == 3 and self.pixels.ndim == 3:
            grey = self.pixels[: self._next]
            self.pixels = np.empty((*self.pixels.shape, 3), np.uint8)
            self.pixels[: self._next] = grey[..., None]
        self.pixels[self._next] = crop if crop.ndim == self.pixels.ndim - 1 else crop[..., None]
        self._next += 1


def luma_of(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(..., 3) RGB -> (...) luma by ITU-R BT.601, as `network.luma` weighs it, exact to rounding (halves go up)."""
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return ((299 * red + 587 * green + 114 * blue + 500) // 1000).astype(np.uint8)
