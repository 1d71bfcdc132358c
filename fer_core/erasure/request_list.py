"""A list of images to forget: a text file with an address or a digest a line."""

from pathlib import Path
from typing import Final

from fer_core.erasure.named import SHA256, image_uri
from fer_core.errors import UsageError
from fer_core.storage.bounded_file import read_bounded

MOST_BYTES: Final = 64 * 2**20


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
