"""Bombs: small files that keep a decoder busy with what is around the pixels. Each is refused before a decoder sees it."""

import struct
import zlib
from functools import cache

import numpy as np
import pytest

from fer_core.decode import header_bounds as bounds
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.errors import ImageError
from tests.support.broken_images import _chunk, encoded, oriented, portrait

EXIF = b"Exif\0\0II*\0\x08\0\0\0"


@cache
def black(kind, **options):
    return encoded(np.zeros((64, 64, 3), np.uint8), kind, **options)


def segment(marker, body=b""):
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg(before=b"", behind=b""):
    """What stands before the first segment, and between the coded pixels and the end."""
    data = black("JPEG")
    return data[:2] + before + data[2:-2] + behind + data[-2:]


def png(chunks):
    data = black("PNG")
    return data[:33] + chunks + data[33:]


def webp(chunks):
    canvas = struct.pack("<I", 10) + bytes((0x08, 0, 0, 0, 63, 0, 0, 63, 0, 0))
    body = b"WEBPVP8X" + canvas + black("WEBP")[12:] + chunks
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(tags, big=False):
    """One page, without pixels that could be read; a value of bytes lies behind the tags."""
    size, head, entry = (20, b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(tags)), "<HHQQ") if big else (12, b"", "<HHII")
    head = head or b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    behind, at = b"", len(head) + size * len(tags) + 8
    page = head
    for tag, kind, count, value in tags:
        page += struct.pack(entry, tag, kind, count, at + len(behind) if isinstance(value, bytes) else value)
        behind += value if isinstance(value, bytes) else b""
    return page + bytes(8) + behind


def strips(count, compression=1, big=False):
    """`count` rows of one grey pixel, a strip each, all at the same place."""
    where = struct.pack("<I", 8) * count, struct.pack("<I", 1) * count
    tags = {256: 1, 257: count, 258: 8, 259: compression, 262: 1, 273: where[0], 277: 1, 278: 1, 279: where[1]}
    return tiff([(tag, 4, count if isinstance(value, bytes) else 1, value) for tag, value in tags.items()], big)


def tiles(width, length, pixels=(40_000, 16)):
    """Many tiles that reach far beyond the picture, all of them the same few bytes."""
    count = -(-pixels[0] // width) * -(-pixels[1] // length)
    tile = zlib.compress(bytes(width * length))
    tags = {256: pixels[0], 257: pixels[1], 258: 8, 259: 8, 262: 1, 277: 1, 322: width, 323: length}
    entries = [(tag, 4, 1, value) for tag, value in tags.items()]
    at = 8 + 2 + 12 * (len(entries) + 2) + 8 + 8 * count
    places = [(324, 4, count, struct.pack("<I", at) * count), (325, 4, count, struct.pack("<I", len(tile)) * count)]
    return tiff(entries + places) + tile


BOMBS = {
    "JPEG of EXIF segments": (lambda: jpeg(segment(0xE1, EXIF) * 65), "more than 64 EXIF segments"),
    "JPEG of empty segments": (lambda: jpeg(segment(0xE0) * 4096), "more than 4,096 segments"),
    "JPEG of comments": (lambda: jpeg(segment(0xFE, b"x") * 4096), "more than 4,096 segments"),
    "JPEG of segments behind its pixels": (lambda: jpeg(behind=segment(0xE1) * 4096), "more than 4,096 segments"),
    "JPEG of markers without length": (lambda: jpeg(b"\xff\xd0" * 4097), "more than 4,096 segments"),
    "JPEG of frames": (lambda: jpeg(segment(0xC0, b"\x08\0\x40\0\x40\x03" + b"\1\x11\0" * 20_000)), "damaged JPEG image"),
    "JPEG of padding": (lambda: jpeg(b"\xff" * (2**20 + 2)), "more than 1,048,576 bytes between the segments"),
    "JPEG of junk": (lambda: jpeg(b"\xff\0" * 2**19 + b"\xff"), "more than 1,048,576 bytes between the segments"),
    "PNG of chunks": (lambda: png(_chunk(b"abCd", b"") * 4097), "more than 4,096 chunks that hold no pixels"),
    "PNG of texts": (lambda: png(_chunk(b"tEXt", b"k\0v") * 4097), "more than 4,096 chunks that hold no pixels"),
    "PNG of empty pixels": (lambda: png(_chunk(b"IDAT", b"") * 100_001), "more than 100,000 chunks"),
    "PNG of EXIF": (lambda: png(_chunk(b"eXIf", bytes(2**22 + 1))), "more than 4,194,304 bytes of EXIF"),
    "WebP of EXIF": (lambda: webp(b"EXIF" + struct.pack("<I", 2**22 + 8) + bytes(2**22 + 8)), "more than 4,194,304 bytes of EXIF"),
    "GIF of comments": (
        lambda: b"GIF89a\x01\0\x01\0\0\0\0" + b"!\xfe\1x\0" * 4097 + b",",
        "more than 8,192 blocks before the picture",
    ),
    "TIFF of strips": (lambda: strips(100_001), "more than 100,000 strips or tiles"),
    "TIFF of compressed strips": (lambda: strips(100_001, compression=5), "more than 100,000 strips or tiles"),
    "BigTIFF of strips": (lambda: strips(100_001, big=True), "more than 100,000 strips or tiles"),
    "TIFF of tags": (lambda: tiff([(40_000, 4, 1, 1)] * 4097), "more than 4,096 tags"),
    "BigTIFF of tags": (lambda: tiff([(40_000, 4, 1, 1)] * 4097, big=True), "more than 4,096 tags"),
    "TIFF of bits": (lambda: tiff([(258, 3, 200_001, bytes(400_002))]), "more than 200,000 values of a tag"),
    "TIFF of tiles beyond the picture": (lambda: tiles(16, 100_000), "40,000 x 100,000 pixels, more than 200,000,000"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused(name):
    make, reason = BOMBS[name]
    with pytest.raises(ImageError) as error:
        decode(make(), DecodeLimits())
    assert error.value.reason == reason
    assert error.value.status == ("unreadable" if reason.startswith("damaged") else "too_large")


SOUND = {
    "a camera's metadata": lambda: jpeg(segment(0xE1, EXIF + bytes(60_000)) * 8 + segment(0xE2, b"ICC_PROFILE\0" + bytes(60_000)) * 200),
    "JPEG with restarts": lambda: black("JPEG", restart_marker_blocks=1),
    "padded JPEG": lambda: jpeg(b"\xff" * 1000),
    "pictures behind a JPEG": lambda: black("JPEG") * 5000,
    "PNG of small chunks": lambda: png(_chunk(b"abCd", b"") * 2000 + _chunk(b"tEXt", b"k\0v") * 100),
    "PNG of zTXt": lambda: png(_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**8)))),
    "PNG of iTXt": lambda: png(_chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(10**8)))),
    "PNG of ICC": lambda: png(_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(10**8)))),
    "WebP of small chunks": lambda: webp(b"ABCD\0\0\0\0" * 100_000),
    "TIFF of many strips": lambda: strips(5000),
    "tiles that reach beyond": lambda: tiles(512, 512),
    "turned": lambda: oriented(portrait(), 6),
}


@pytest.mark.parametrize("name", SOUND)
def test_photographs_are_far_below(name):
    assert decode(SOUND[name](), DecodeLimits()).width > 0


def test_a_page_outside_of_its_file_is_damaged():
    for data in (b"II*\0\xff\xff\xff\xff" + bytes(20), b"II+\0\x08\0\0\0" + b"\xff" * 8 + bytes(20), b"MM\0*\0\0\0\x08"):
        bounds.check_bounds(data, "TIFF")
        with pytest.raises(ImageError, match="TIFF"):
            decode(data, DecodeLimits())
