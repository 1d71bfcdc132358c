"""Any collection sorted into folders: `<split>/<expression>/<file>` or `<expression>/<file>` (all of it training)."""

from collections.abc import Iterator
from pathlib import Path

from fer_core.errors import FaceSetError
from fer_core.faceset import SPLITS
from fer_core.importers.samples import Sample
from fer_core.labels import FOLDER_NAMES


def samples(source: Path) -> Iterator[Sample]:
    """Every file below a folder that is named like an expression."""
    splits = [split for split in SPLITS if (source / split).is_dir()]
    roots = [(split, source / split) for split in splits] or [("train", source)]
    found = False
    for split, root in roots:
        for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
            label = FOLDER_NAMES.get(folder.name.lower())
            if label is None:
                raise FaceSetError(f"no expression is called {folder.name!r} (folder {folder})")
            for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
                found = True
                yield Sample(file.relative_to(source).as_posix(), split, label, None, None, file.read_bytes())
    if not found:
        raise FaceSetError(f"not a folder set: no <expression>/<file> or <split>/<expression>/<file> in {source}")
