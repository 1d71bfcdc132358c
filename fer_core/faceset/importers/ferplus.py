"""FER+ (Barsoum, Zhang, Canton Ferrer, Zhang, ICMI 2016): FER2013's pictures with ten raters each.

Layout: `fer2013new.csv` beside `FER2013Train/`, `FER2013Valid/`, `FER2013Test/`, each a folder or a .zip of that name.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fer_core.errors import FaceSetError
from fer_core.faceset.importers.samples import Sample, open_pictures

SPLIT_OF: Final = {"Training": "train", "PublicTest": "valid", "PrivateTest": "test"}
FOLDER_OF: Final = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
MOST_VOTES: Final = 1_000_000
COLUMNS: Final = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")


def samples(source: Path) -> Iterator[Sample]:
    """Every picture that the table names and a folder holds; a split whose folder is absent is skipped."""
    rows = _rows(source / "fer2013new.csv")
    present = found = False
    for usage, split in SPLIT_OF.items():
        with open_pictures(source / FOLDER_OF[split]) as pictures:
            if pictures is None:
                continue
            present = True
            for name, row_usage, votes in rows:
                data = pictures.read(name) if row_usage == usage else None
                if data is not None:
                    found = True
                    yield Sample(name, split, None, votes, None, data)
    if not present:
        raise FaceSetError(f"not FER+'s layout: none of {', '.join(FOLDER_OF.values())} (folder or .zip) is in {source}")
    if not found:
        raise FaceSetError(f"not FER+'s layout: none of the images that fer2013new.csv names is in {source}")


def _rows(table: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    """(image name, usage, votes) of every row that names a picture."""
    if not table.is_file():
        raise FaceSetError(f"not FER+'s layout: no fer2013new.csv in {table.parent}")
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [column for column in ("Usage", "Image name", *COLUMNS) if column not in (reader.fieldnames or ())]
            if missing:
                raise FaceSetError(f"not FER+'s layout: {table} lacks the columns {', '.join(missing)}")
            return [(row["Image name"], row["Usage"], tuple(_vote(row[c]) for c in COLUMNS)) for row in reader if row["Image name"]]
    except (UnicodeDecodeError, csv.Error) as error:
        raise FaceSetError(f"not FER+'s layout: {table} is not a table") from error
    except (ValueError, TypeError) as error:  # a short line has None where votes should be
        raise FaceSetError(f"not FER+'s layout: a vote in {table} is not a whole number") from error


def _vote(written: str) -> int:
    vote = int(written)
    if not 0 <= vote <= MOST_VOTES:
        raise ValueError("no number of raters")
    return vote
