"""What is to be forgotten, as a person names it: one image, digest or face, or a list file."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fer_core.erasure.named import SHA256, image_uri, sha256_of
from fer_core.errors import UsageError
from fer_core.storage.bounded_file import read_bounded

MOST_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be forgotten, in clear."""

    uris: Collection[str] = ()
    contents: Collection[str] = ()
    """SHA-256, hexadecimal."""
    face_ids: Collection[str] = ()

    @property
    def asked(self) -> dict[str, int]:
        """Counts for the audit record."""
        return {"image": len(self.uris), "sha256": len(self.contents), "face": len(self.face_ids)}


def request_of(image: str | None = None, sha256: str | None = None, face: str | None = None, list_file: Path | None = None) -> Request:
    """The request, of which one part is given. UsageError where it is no address, digest or list."""
    if list_file is not None:
        uris, contents = read_list(list_file)
        return Request(tuple(uris), tuple(contents))
    return Request(
        uris=(image_uri(image),) if image else (),
        contents=(sha256_of(sha256),) if sha256 else (),
        face_ids=(sha256_of(face),) if face else (),
    )


def read_list(file: Path) -> tuple[list[str], list[str]]:
    """Addresses and digests, in the order of the file; empty lines are skipped. UsageError where it cannot be read or names nothing.

    64 hexadecimal digits are a digest, anything else is an address, see `named.image_uri`.
    """
    try:
        lines = [line.strip() for line in read_bounded(file, MOST_BYTES).decode("utf-8-sig").splitlines()]
    except OSError as error:
        raise UsageError(f"cannot read {file} ({str(error.strerror).lower()})") from error
    except ValueError as error:
        raise UsageError(f"{file} is no list of addresses in UTF-8 of at most {MOST_BYTES:,} bytes") from error
    digests = [line.lower() for line in lines if SHA256.fullmatch(line.lower())]
    uris = [image_uri(line) for line in lines if line and not SHA256.fullmatch(line.lower())]
    if not digests and not uris:
        raise UsageError(f"{file} names no image")
    return uris, digests
