"""Any collection sorted into folders: `<split>/<expression>/<file>` or `<expression>/<file>` (all of it training)."""

from collections.abc import Iterator
from pathlib import Path

from fer_core.errors import FaceSetError
from fer_core.faceset import SPLITS
from fer_core.importers.samples import Sample
from fer_core.labels import FOLDER_NAMES


def samples(source: Path) -> Iterator[Sample]:
    """Every file below a folder that is named like an expression. Names that begin with a dot are passed over."""
    found = False
    for split, root in _roots(source):
        for folder in _folders(root):
            label = FOLDER_NAMES.get(folder.name.lower())
            if label is None:
                raise FaceSetError(f"no expression is called {folder.name!r} (folder {folder})")
            for file in sorted(entry for entry in folder.rglob("[!.]*") if entry.is_file()):
                found = True
                yield Sample(file.relative_to(source).as_posix(), split, label, None, None, file.read_bytes())
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
        raise FaceSetError(f"no split is called {strange[0]!r} (splits are {', '.join(SPLITS)}): {source / strange[0]}")
    return [(split, source / split) for split in SPLITS if split in names]


def _folders(root: Path) -> list[Path]:
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
