"""Bounds on what a file may have around its pixels, checked before a decoder runs.

Decoders read segments, chunks, strips and tags one by one, partly in Python, and some work is repeated for each: a few megabytes that
consist of nothing else could keep a worker busy for minutes. Real photographs are far below these bounds.
"""

import re
import struct
from dataclasses import dataclass
from typing import Final

from fer_core.decode.image_format import GIF, JPEG, PNG, TIFF
from fer_core.errors import ImageError
from fer_core.tables.schema import TOO_LARGE, UNREADABLE

SEGMENTS: Final = 4096
"""Of a JPEG file, of at most 64 KiB each: those of 64 MiB of metadata are 1,024."""
SCANS: Final = 64
"""Of a JPEG file. Encoders write about ten. Each is a pass over all pixels, and may take no more than a dozen bytes: thirty kilobytes
could keep a worker busy for a minute, and sixty megabytes for days."""
EXIF_SEGMENTS: Final = 64
"""The standard has one. Pillow appends each to those before."""
JUNK: Final = 2**20
"""Bytes between a JPEG file's segments that belong to none; Pillow steps over them one by one."""
CHUNKS: Final = 100_000
"""Of a PNG file; writers make their chunks of pixels 8 KiB or longer, or one a row."""
OTHER_CHUNKS: Final = 4096
"""Those of them that hold no pixels."""
EXIF_BYTES: Final = 2**22
"""Of an EXIF block in any format. JPEG files have up to 64 KiB."""
TAGS: Final = 4096
"""Of a TIFF page."""
STRIPS: Final = 100_000
"""Of a TIFF page, or tiles. Each is a Python object, which takes 25 microseconds."""
VALUES: Final = 200_000
"""Of a TIFF tag that is read as numbers: the largest colour table has 196,608."""
BLOCKS: Final = 8192
"""Before the first picture of a GIF file, of at most 255 bytes each."""

_START_OF_SCAN, _END_OF_IMAGE, _APP1, _TABLES, _PROGRESSIVE = b"\xda", b"\xd9", b"\xe1", b"\xc4", b"\xc2"
_START_OF_FRAME: Final = frozenset(bytes([marker]) for marker in range(0xC0, 0xD0) if marker not in (0xC4, 0xC8, 0xCC))
_WITHOUT_LENGTH: Final = frozenset(bytes([marker]) for marker in (0x01, 0xC8, *range(0xD0, 0xDA), *range(0xF0, 0xFE)))
_PADDING: Final = re.compile(rb"[^\xff]*+\xff++(?:\x00[^\xff]*+\xff++)*+")
"""Up to the marker of the next segment; 0xFF00 is none. Possessive: a megabyte of these needs no memory for backtracking."""
_CODED: Final = re.compile(rb"\xff(?=[\x01-\xcf\xd8-\xfe])")
"""The same behind coded pixels, in which 0xFF is followed by zero, or by a restart's number."""
_PIXEL_CHUNKS: Final = frozenset((b"IDAT", b"fdAT", b"fcTL"))
_PLACES: Final = frozenset((273, 279, 324, 325))
"""Tags that say where strips or tiles are, and how long."""
_READ_AS_NUMBERS: Final = range(254, 533)
"""The baseline tags and extensions of TIFF 6.0."""
_NUMBERS: Final = frozenset((3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 18))
"""Types of values that become Python numbers, one by one; the others stay bytes."""


def check_bounds(data: bytes, name: str) -> None:
    """ImageError `too_large` for a file beyond these bounds. name: one of `image_format.FORMATS`."""
    if name == JPEG:
        jpeg_layout(data)
    check = {PNG: _check_png, TIFF: _check_tiff, GIF: gif_size}.get(name)
    if check is not None:
        check(data)


def check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    """ImageError `too_large` for a picture of more pixels. size: width and height."""
    width, height = size
    if width * height > max_pixels:
        raise ImageError(TOO_LARGE, f"{width:,} x {height:,} pixels, more than {max_pixels:,}")


def check_exif(size: int) -> None:
    """ImageError `too_large` for an EXIF block of so many bytes."""
    _check(size, EXIF_BYTES, "bytes of EXIF")


@dataclass(frozen=True, slots=True)
class JpegLayout:
    """Where the coded pixels of a JPEG file are."""

    start: int
    """The first scan's header, or the end where there is none."""
    end: int
    """The end marker, or the end of the file where it is missing."""
    whole: bool
    """Whether there is an end marker."""
    progressive: bool
    scans: int
    zeros_are_pixels: bool
    """Whether zero bytes among the coded pixels may be an even area: in all tables of a block's detail, zero bits end the block. Of a
    progressive file, each scan of which has tables of its own, in one of them."""


def jpeg_layout(data: bytes) -> JpegLayout:
    """Segments and scans up to the end of the picture; the rest is ignored (ITU-T T.81, annex B). ImageError as `check_bounds`."""
    at, segments, scans, frames, exif, junk = 2, 0, 0, 0, 0, 0
    start, marker, progressive, zeros_end_blocks = len(data), b"", False, set[bool]()
    while found := _CODED.search(data, at) if scans else _PADDING.match(data, at):
        junk += 0 if scans else found.end() - at - 1
        marker, at = data[found.end() : found.end() + 1], found.end() + 1
        if marker in (b"", _END_OF_IMAGE):
            break
        segments += 1
        if marker == _START_OF_SCAN:
            start, scans = min(start, at), scans + 1
        frames += marker in _START_OF_FRAME
        progressive |= marker == _PROGRESSIVE
        if marker == _TABLES:
            zeros_end_blocks |= _zeros_end_blocks(data[at + 2 : at + int.from_bytes(data[at : at + 2], "big")])
        if marker not in _WITHOUT_LENGTH:
            exif += marker == _APP1 and data[at + 2 : at + 8] == b"Exif\0\0"
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
        _check(segments, SEGMENTS, "segments")
        _check(scans, SCANS, "scans")
        _check(exif, EXIF_SEGMENTS, "EXIF segments")
        if frames > 1:
            raise ImageError(UNREADABLE, "damaged JPEG image")
    _check(junk, JUNK, "bytes between the segments")
    whole = marker == _END_OF_IMAGE
    zeros_are_pixels = True in zeros_end_blocks if progressive else False not in zeros_end_blocks
    return JpegLayout(start, at if whole else len(data), whole, progressive, scans, zeros_are_pixels)


def _zeros_end_blocks(tables: bytes) -> set[bool]:
    """For each table of a block's detail, whether it begins with an end of block: its first code is all zero bits (T.81, B.2.4.2)."""
    at, found = 0, set[bool]()
    while at + 18 <= len(tables):
        if tables[at] >> 4:
            found.add(not tables[at + 17] & 0x0F and tables[at + 17] != 0xF0)
        at += 17 + sum(tables[at + 1 : at + 17])
    return found


def _check_png(data: bytes) -> None:
    at, chunks, others = 8, 0, 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        chunks, others = chunks + 1, others + (kind not in _PIXEL_CHUNKS)
        _check(others, OTHER_CHUNKS, "chunks that hold no pixels")
        _check(chunks, CHUNKS, "chunks")
        if kind == b"eXIf":
            check_exif(size)
        if kind == b"IEND":
            break
        at += 12 + size


def gif_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas with its first picture, behind extensions (GIF 89a, 18 to 23). ImageError as `check_bounds`."""
    at, blocks = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0), 0
    while data[at : at + 1] == b"!":
        at += 2
        while at < len(data):
            size, blocks = data[at], blocks + 1
            at += 1 + size
            _check(blocks, BLOCKS, "blocks before the picture")
            if not size:
                break
    try:
        width, height = struct.unpack_from("<HH", data, 6)
        left, top, across, down = struct.unpack_from("<4H", data, at + 1)
    except struct.error:
        raise ImageError(UNREADABLE, "truncated GIF image") from None
    return max(width, left + across), max(height, top + down)


def _check_tiff(data: bytes) -> None:
    """The first page, which is the one that is read."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    width, head, entry = (8, "Q", "HHQ8x") if big else (4, "H", "HHL4x")
    start = int.from_bytes(data[width : 2 * width], "little" if order == "<" else "big")
    try:
        (tags,) = struct.unpack_from(order + head, data, start)
    except (struct.error, OverflowError):  # outside of the file: Pillow raises
        return
    _check(tags, TAGS, "tags")
    at = start + struct.calcsize(order + head)
    step = struct.calcsize(order + entry)
    end = at + min(tags, (len(data) - at) // step) * step
    for tag, kind, count in struct.iter_unpack(order + entry, data[at:end]):
        if tag in _PLACES:
            _check(count, STRIPS, "strips or tiles")
        elif tag in _READ_AS_NUMBERS and kind in _NUMBERS:
            _check(count, VALUES, "values of a tag")


def _check(count: int, bound: int, what: str) -> None:
    if count > bound:
        raise ImageError(TOO_LARGE, f"more than {bound:,} {what}")
