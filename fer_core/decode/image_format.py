"""The format of a file, by its first bytes and never by its name."""

import struct
from typing import Final

JPEG, PNG, WEBP, BMP, TIFF = "JPEG", "PNG", "WEBP", "BMP", "TIFF"
GIF, HEIF, AVIF, JPEG2000, JXL, RAW = "GIF", "HEIF", "AVIF", "JPEG2000", "JXL", "RAW"
FORMATS: Final = (JPEG, PNG, WEBP, BMP, TIFF, GIF, HEIF, AVIF, JPEG2000, JXL, RAW)
"""Formats that are decoded, under the names Pillow gives them. The last two need an extra, see `extras`."""

_BMP_HEADER_SIZES: Final = (12, 16, 40, 52, 56, 64, 108, 124)

_MAGICS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", JPEG2000),
    (b"\xff\x4f\xff\x51", JPEG2000),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", JXL),
    (b"\xff\x0a", JXL),
    *((magic, RAW) for magic in (b"IIRO", b"IIRS", b"MMOR", b"IIU\x00", b"FUJIFILMCCD-RAW", b"\x00MRM", b"FOVb")),
)
"""Panasonic's and Olympus' camera raw files are nearly TIFF files; the others of this table are none."""
_CR2: Final = b"CR\x02"
"""Bytes 8 to 11 of Canon's, which begin like a TIFF file."""

_OTHERS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%PDF", "a PDF file"),
    (b"8BPS", "a Photoshop file"),
    (b"\x00\x00\x01\x00", "an icon file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PAR1", "a Parquet file"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"RIFF", "a RIFF file without WebP inside"),
)

_BRANDS: Final[dict[bytes, str]] = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"), HEIF),
    **dict.fromkeys((b"avif", b"avis"), AVIF),
    b"crx ": RAW,
}
"""Major brands of ISO base media files (bytes 8 to 12); the others are videos."""
_ANY_CODEC: Final = frozenset((b"mif1", b"msf1"))
"""Of these the compatible brands behind say what the picture is coded with."""


def image_format(data: bytes) -> str | None:
    """One of `FORMATS`, or None."""
    for magic, name in _MAGICS:
        if data.startswith(magic):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WEBP
    if data[:2] == b"BM" and len(data) >= 18 and struct.unpack_from("<I", data, 14)[0] in _BMP_HEADER_SIZES:
        return BMP
    if data[:4] in {b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"}:
        return RAW if data[8:11] == _CR2 else TIFF
    return _media_format(data) if data[4:8] == b"ftyp" else None


def _media_format(data: bytes) -> str | None:
    """Of a file of ISO base media boxes (ISO/IEC 14496-12, 4.3)."""
    brand = data[8:12]
    if brand in _ANY_CODEC:
        others = data[16 : min(int.from_bytes(data[:4], "big"), 256)]
        if {b"avif", b"avis"} & {others[at : at + 4] for at in range(0, len(others), 4)}:
            return AVIF
    return _BRANDS.get(brand)


def describe_content(data: bytes) -> str:
    """Description of a file that is none of `FORMATS`."""
    if data[4:8] == b"ftyp":
        return "an MP4 or QuickTime video"
    for magic, words in _OTHERS:
        if data.startswith(magic):
            return words
    return _text_or_unknown(data[:512])


def _text_or_unknown(start: bytes) -> str:
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "text"
    if set(start) == {0}:
        return "nothing but zero bytes"
    text = start.decode(errors="replace")
    if any(character < " " and character not in "\t\n\r\f" for character in text):
        return "an unknown format"
    head = text.lstrip("\ufeff \t\r\n").lower()
    if head.startswith(("<!doctype html", "<html")):
        return "a web page"
    if "<svg" in head:
        return "an SVG drawing"
    return "text"


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP file's canvas, or None where its header is damaged (RFC 9649, sections 2.5 to 2.7)."""
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    return None


def png_kind(data: bytes) -> tuple[int, int, int, int] | None:
    """Width, height, bits a sample and colour type of a PNG image, or None where it does not begin with them (PNG 3, 11.2.2)."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR") or len(data) < 33:
        return None
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    return width, height, bits, colour
