"""What every importer yields, and how pictures are read from a folder or from a zip of the same name."""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fer_core.errors import FaceSetError


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a data set, not yet decoded."""

    sample_id: str
    """The set's own name of the picture."""
    split: str
    label: str | None
    """Expression, for sets with one label a face."""
    votes: tuple[int, ...] | None
    """By `faceset.VOTE_COLUMNS`, for sets with several raters."""
    group: str | None
    """Identity where the set names it."""
    data: bytes
    """Encoded picture."""


class PictureFolder(Protocol):
    """Pictures by name."""

    def read(self, name: str) -> bytes | None:
        """The encoded picture, or None where there is no such file."""
        ...


class _Plain:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> bytes | None:
        file = self._folder / name
        return read_picture(file) if file.is_file() else None


class _Zipped:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members: Mapping[str, str] = {Path(member).name: member for member in archive.namelist() if not member.endswith("/")}

    def read(self, name: str) -> bytes | None:
        member = self._members.get(name)
        if member is None:
            return None
        try:
            return self._archive.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, odd method
            raise FaceSetError(f"cannot read {member} in the archive {self._archive.filename}") from error


def read_picture(file: Path) -> bytes:
    """The bytes of a file that is there."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise FaceSetError(f"cannot read {file} ({str(error.strerror).lower()})") from error


@contextmanager
def open_pictures(place: Path) -> Iterator[PictureFolder | None]:
    """The folder `place`, or `place` + .zip, or None where neither is there."""
    archive = place.with_name(place.name + ".zip")
    if place.is_dir():
        yield _Plain(place)
    elif archive.is_file():
        try:
            opened = zipfile.ZipFile(archive)
        except zipfile.BadZipFile as error:
            raise FaceSetError(f"damaged archive: {archive}") from error
        except OSError as error:
            raise FaceSetError(f"cannot read {archive} ({str(error.strerror).lower()})") from error
        with opened:
            yield _Zipped(opened)
    else:
        yield None
