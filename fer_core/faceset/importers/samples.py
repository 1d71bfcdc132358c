"""The samples that importers yield, and pictures from a folder or from a zip of the same name."""

import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from fer_core.errors import FaceSetError
from fer_core.faceset.schema import PICTURE_BYTES
from fer_core.storage.bounded_file import read_at_most

READ_BYTES: Final = PICTURE_BYTES + 1
"""Of a file, or of an archive's member, which may unpack to gigabytes: one more than a picture has, so that it counts as too large."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture of a data set, not yet decoded."""

    sample_id: str
    """The set's own name of the picture."""
    split: str
    label: str | None
    """Expression, for sets with one label a face."""
    votes: tuple[int, ...] | None
    """By `faceset.schema.VOTE_COLUMNS`, for sets with several raters."""
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
        file = inside(self._folder, name)
        return read_picture(file) if file.is_file() else None


class _Zipped:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        # by their last name alone: nothing is unpacked to the disk, so a member's folder does not matter
        self._members: Mapping[str, str] = {Path(member).name: member for member in archive.namelist() if not member.endswith("/")}

    def read(self, name: str) -> bytes | None:
        member = self._members.get(name)
        if member is None:
            return None
        try:
            with self._archive.open(member) as stream:
                return stream.read(READ_BYTES)
        except _UNREADABLE as error:  # damaged, encrypted, odd method
            raise FaceSetError(f"cannot read {member} in the archive {self._archive.filename}") from error


def inside(folder: Path, name: str) -> Path:
    """A file that a table names, below the folder of its set. FaceSetError where the name leads out of it: such a table could copy other
    files of the importing user into the face set.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise FaceSetError(f"the name of an image leads out of its folder {folder}: {name[:200]!r}")
    return folder / name


def read_picture(file: Path) -> bytes:
    """The bytes of a file that is there, `READ_BYTES` at most."""
    try:
        return read_at_most(file, READ_BYTES)
    except OSError as error:
        raise FaceSetError(f"cannot read {file} ({str(error.strerror).lower()})") from error


_UNREADABLE: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


@contextmanager
def open_pictures(place: Path) -> Iterator[PictureFolder | None]:
    """The folder `place`, or `place` + .zip, or None where neither is there."""
    archive = place.with_name(place.name + ".zip")
    if place.is_dir():
        yield _Plain(place)
    elif archive.is_file():
        try:
            opened = zipfile.ZipFile(archive)
        except OSError as error:
            raise FaceSetError(f"cannot read {archive} ({str(error.strerror or error).lower()})") from error
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise FaceSetError(f"damaged archive: {archive}") from error
        with opened:
            yield _Zipped(opened)
    else:
        yield None
