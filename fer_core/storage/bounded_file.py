"""Local files, read up to a bound, whatever they hold and however they grow meanwhile."""

from pathlib import Path
from typing import Final

_PIECE: Final = 2**20
"""Bytes of one read: Python allocates the requested size, not the size of the file."""


def read_at_most(file: Path, most: int) -> bytes:
    """The first `most` bytes of a file, or all where it has fewer. OSError where it cannot be read."""
    pieces, left = list[bytes](), most
    with file.open("rb") as stream:
        while left and (piece := stream.read(min(_PIECE, left))):
            pieces.append(piece)
            left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_bounded(file: Path, most: int) -> bytes:
    """All of a file; ValueError where it has more than `most` bytes."""
    data = read_at_most(file, most + 1)
    if len(data) > most:
        raise ValueError(f"more than {most:,} bytes")
    return data
