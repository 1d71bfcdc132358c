"""What the tests of all importers share: files in a layout, refusals, samples by name."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fer_core.errors import FaceSetError
from fer_core.faceset.importers.samples import Sample

Importer = Callable[[Path], Iterator[Sample]]


def write(file: Path, content: bytes | str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content.encode() if isinstance(content, str) else content)


def refused(importer: Importer, source: Path, match: str) -> None:
    with pytest.raises(FaceSetError, match=match) as caught:
        list(importer(source))
    assert "\n" not in str(caught.value)


def by_id(found: Iterator[Sample]) -> dict[str, Sample]:
    every = list(found)
    assert len({(s.split, s.sample_id) for s in every}) == len(every)
    return {sample.sample_id: sample for sample in every}


def zip_of(place: Path, prefix: str = "") -> None:
    """Replace a folder by a zip of the same name."""
    with zipfile.ZipFile(place.with_name(place.name + ".zip"), "w") as archive:
        for file in sorted(place.iterdir()):
            archive.write(file, prefix + file.name)
            file.unlink()
    place.rmdir()
