"""Any collection sorted into folders: `<split>/<expression>/<file>` or `<expression>/<file>` (all of it training).

`identities.csv` beside those folders may name the persons: columns `file` (path from there, with forward slashes) and `identity`. Each
picture has a line; an unknown identity is empty. Other columns are ignored.
"""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from fer_core.errors import FaceSetError
from fer_core.faceset import SPLITS
from fer_core.faceset.importers.samples import Sample, read_picture
from fer_core.labels import FOLDER_NAMES

IDENTITIES: Final = "identities.csv"


def samples(source: Path) -> Iterator[Sample]:
    """Every file below a folder that is named like an expression. Names that begin with a dot are skipped."""
    found = False
    roots = _roots(source)
    identities = _identities(source / IDENTITIES)
    for split, root in roots:
        for folder in _folders(root):
            label = FOLDER_NAMES.get(folder.name.lower())
            if label is None:
                raise FaceSetError(f"unknown expression {folder.name!r} (folder {folder})")
            for file in sorted(entry for entry in folder.rglob("[!.]*") if entry.is_file()):
                found = True
                name = _name(file, source)
                yield Sample(name, split, label, None, _identity(name, identities), read_picture(file))
    if not found:
        raise FaceSetError(f"not a folder set: no <expression>/<file> or <split>/<expression>/<file> in {source}")


def _roots(source: Path) -> list[tuple[str, Path]]:
    """(split, folder of its expressions); without a folder that is called like a split everything is training."""
    if not source.is_dir():
        raise FaceSetError(f"no such folder: {source}")
    names = [folder.name for folder in _folders(source)]
    if not any(name in SPLITS for name in names):
        return [("train", source)]
    strange = [name for name in names if name not in SPLITS]
    if strange:
        raise FaceSetError(f"unknown split {strange[0]!r} (splits are {', '.join(SPLITS)}): {source / strange[0]}")
    return [(split, source / split) for split in SPLITS if split in names]


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _name(file: Path, source: Path) -> str:
    name = file.relative_to(source).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise FaceSetError(f"a file's name is not UTF-8: {name!r} in {source}") from error
    return name


def _identity(name: str, identities: Mapping[str, str] | None) -> str | None:
    """FaceSetError where the table lacks the picture: its identity could be in several splits without notice."""
    if identities is None:
        return None
    if name not in identities:
        raise FaceSetError(f"{IDENTITIES} has no line for {name} (leave its identity empty where it is not known)")
    return identities[name] or None


def _identities(table: Path) -> Mapping[str, str] | None:
    """File -> identity, or None where there is no such table."""
    if not table.is_file():
        return None
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [column for column in ("file", "identity") if column not in (reader.fieldnames or ())]
            if missing:
                raise FaceSetError(f"{table} lacks the columns {', '.join(missing)}")
            return _by_file(((row["file"] or "", (row["identity"] or "").strip()) for row in reader), table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise FaceSetError(f"{table} is not a table") from error
    except OSError as error:
        raise FaceSetError(f"cannot read {table} ({str(error.strerror).lower()})") from error


def _by_file(rows: Iterator[tuple[str, str]], table: Path) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for file, identity in rows:
        if found.setdefault(file, identity) != identity:
            raise FaceSetError(f"{table} gives {file} two identities")
    return found
