"""RAF-DB, basic set (Li, Deng, Du, CVPR 2017): one of seven expressions a face, without contempt.

Layout: `EmoLabel/list_patition_label.txt` (the set's own spelling; lines like `train_00001.jpg 5`) and the aligned pictures
`Image/aligned/train_00001_aligned.jpg`, as a folder or as `Image/aligned.zip`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fer_core.errors import FaceSetError
from fer_core.faceset.importers.samples import Sample, open_pictures
from fer_core.labels import RAFDB_CODES

SPLITS: Final = ("train", "test")


def samples(source: Path) -> Iterator[Sample]:
    """Every picture that the list names and the folder holds. A sample's id is its name in the list."""
    rows = _rows(source / "EmoLabel" / "list_patition_label.txt")
    place = source / "Image" / "aligned"
    found = False
    with open_pictures(place) as pictures:
        if pictures is None:
            raise FaceSetError(f"not RAF-DB's layout: no folder {place} (or .zip of that name)")
        for name, split, label in rows:
            data = pictures.read(f"{Path(name).stem}_aligned.jpg")
            if data is not None:
                found = True
                yield Sample(name, split, label, None, None, data)
    if not found:
        raise FaceSetError(f"not RAF-DB's layout: none of the images that the list names is in {place}")


def _rows(table: Path) -> list[tuple[str, str, str]]:
    """(name, split, expression) of every line."""
    if not table.is_file():
        raise FaceSetError(f"not RAF-DB's layout: no {table}")
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FaceSetError(f"not RAF-DB's layout: {table} is not text") from error
    return [_row(line.split(), f"line {number} of {table}") for number, line in enumerate(lines, 1) if line.strip()]


def _row(words: list[str], where: str) -> tuple[str, str, str]:
    name, code = words if len(words) == 2 else ("", "")
    split = name.partition("_")[0]
    label = RAFDB_CODES.get(int(code)) if code.isdecimal() and len(code) == 1 else None
    if split not in SPLITS or label is None:
        raise FaceSetError(f"not RAF-DB's layout: {where} is not a name train_... or test_... and a code from 1 to 7")
    return name, split, label
