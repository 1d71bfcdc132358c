"""A PNG file without the chunks that damage it but hold no pixels."""

import struct
import zlib
from typing import Final

_KEPT: Final = frozenset((b"IHDR", b"PLTE", b"IDAT"))
_KEPT_IF_SOUND: Final = frozenset((b"tRNS", b"eXIf"))
"""Of the others, what the result depends on; with a wrong checksum they are left out."""
_OLD_EXIF: Final = b"Raw profile type exif\0"
"""How ImageMagick writes EXIF, into a text chunk."""
_OLD_EXIF_BYTES: Final = 2**16


def essential_chunks(data: bytes) -> bytes:
    """The same picture from its necessary chunks alone, with the end that may be missing. data: begins as PNG.

    Necessary chunks stay as they are, also with a wrong checksum.
    """
    kept, at = [data[:8]], 8
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        content = data[at + 8 : at + 8 + size]
        if kind == b"IEND":
            break
        chunk, sound = data[at : at + 12 + size], _chunk(kind, content)
        if len(chunk) < 12 + size and kind == b"IDAT":
            kept.append(sound)
        elif kind in _KEPT or (chunk == sound and _is_wanted(kind, content)):
            kept.append(chunk)
        at += 12 + size
    return b"".join((*kept, _chunk(b"IEND", b"")))


def _is_wanted(kind: bytes, content: bytes) -> bool:
    return kind in _KEPT_IF_SOUND or (kind in (b"tEXt", b"zTXt") and content.startswith(_OLD_EXIF) and len(content) < _OLD_EXIF_BYTES)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))
