"""AffectNet (Mollahosseini, Hasani, Mahoor, IEEE TAC 10(1), 2019): the manually annotated part, one of eight expressions a face.

It is distributed in two layouts:

- tables: `training.csv` and `validation.csv` (columns `subDirectory_filePath` and `expression`) beside `Manually_Annotated_Images/`;
- arrays: `train_set/` and `val_set/`, each with `images/<id>.jpg` and `annotations/<id>_exp.npy`.

Codes 8 (none), 9 (uncertain) and 10 (no face) carry no expression and are left out. The official test part has never been published;
the literature reports on the validation part, here `valid`.
"""

import csv
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Final, Literal

import numpy as np

from fer_core.errors import FaceSetError
from fer_core.faceset.importers.samples import Sample, inside, read_picture
from fer_core.labels import AFFECTNET_CODES

IMAGES: Final = "Manually_Annotated_Images"
LISTS: Final = "Manually_Annotated_file_lists"
TABLE_OF: Final = {"train": "training.csv", "valid": "validation.csv"}
FOLDER_OF: Final = {"train": "train_set", "valid": "val_set"}
PATH, CODE = "subDirectory_filePath", "expression"
COLUMNS: Final = (PATH, "face_x", "face_y", "face_width", "face_height", "facial_landmarks", CODE, "valence", "arousal")
"""The official order, for tables that come without their header."""
LARGEST_CODE: Final = 10
MOST_CODE_BYTES: Final = 64

Classes = Literal[7, 8]


def samples(source: Path, classes: Classes = 8) -> Iterator[Sample]:
    """Every annotated picture that is there. classes: with 7, faces of contempt are left out, as much of the literature does."""
    tables = {split: file for split, name in TABLE_OF.items() if (file := _table(source, name)) is not None}
    folders = {split: source / name for split, name in FOLDER_OF.items() if (source / name).is_dir()}
    if not tables and not folders:
        raise FaceSetError(
            f"not AffectNet's layout: neither {' or '.join(TABLE_OF.values())} nor {' or '.join(FOLDER_OF.values())} in {source}"
        )
    found = False
    for split, place in (tables or folders).items():
        pairs = _from_table(place, source / IMAGES) if tables else _from_arrays(place)
        for name, file, code in pairs:
            label = AFFECTNET_CODES.get(code)
            if label is not None and (classes == 8 or label != "contempt") and file.is_file():
                found = True
                yield Sample(name, split, label, None, None, read_picture(file))
    if not found:
        raise FaceSetError(f"not AffectNet's layout: none of the annotated images is in {source}")


def _table(source: Path, name: str) -> Path | None:
    return next((file for file in (source / name, source / LISTS / name) if file.is_file()), None)


def _from_table(table: Path, images: Path) -> Iterator[tuple[str, Path, int]]:
    """(id, picture, code) by line; the id is the path within the pictures' folder."""
    if not images.is_dir():
        raise FaceSetError(f"not AffectNet's layout: no folder {images}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            yield from ((name, inside(images, name), code) for name, code in _lines(stream, table))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FaceSetError(f"not AffectNet's layout: {table} is not a table") from error


def _lines(stream: Iterator[str], table: Path) -> Iterator[tuple[str, int]]:
    """(path, code) of a table with its header or, as the official validation table may come, without."""
    reader = csv.reader(stream)
    header = next(reader, [])
    bare = len(header) == len(COLUMNS) and "/" in header[0]
    columns = list(COLUMNS) if bare else header
    missing = [column for column in (PATH, CODE) if column not in columns]
    if missing:
        raise FaceSetError(f"not AffectNet's layout: {table} lacks the columns {', '.join(missing)}")
    path, code = columns.index(PATH), columns.index(CODE)
    for row in (header, *reader) if bare else reader:
        if row:
            written = row[code] if len(row) == len(columns) else ""
            yield row[path] if written else "", _code(written, f"line {reader.line_num} of {table}")


def _from_arrays(folder: Path) -> Iterator[tuple[str, Path, int]]:
    """(id, picture, code) by annotation; the id is the picture's name."""
    annotations, images = folder / "annotations", folder / "images"
    for part in (annotations, images):
        if not part.is_dir():
            raise FaceSetError(f"not AffectNet's layout: no folder {part}")
    for file in sorted(annotations.glob("*_exp.npy")):
        name = file.name.removesuffix("_exp.npy") + ".jpg"
        yield name, images / name, _code_in(file)


def _code_in(file: Path) -> int:
    """The one value of a NumPy file: a number, or text as the official files have it. Pickles are refused."""
    try:
        with file.open("rb") as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("not as NumPy writes plain arrays")
            shape, _, kind = np.lib.format.read_array_header_1_0(stream)
            if prod(shape) != 1 or kind.itemsize > MOST_CODE_BYTES:  # before that much is allocated
                raise FaceSetError(f"not AffectNet's layout: {file} does not hold one value")
            stream.seek(0)
            value = np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FaceSetError(f"not AffectNet's layout: {file} is not a plain NumPy file") from error
    return _code(str(value.item()), str(file))


def _code(written: str, where: str) -> int:
    if not written.strip().isdecimal() or len(written) > MOST_CODE_BYTES or int(written) > LARGEST_CODE:
        raise FaceSetError(f"not AffectNet's layout: {where} has no expression code from 0 to {LARGEST_CODE}")
    return int(written)
