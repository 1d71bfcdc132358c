"""The mark in a page or picture that shows images: what wrote it, and which images they are.

An image is named by its address only where people can read that in the output too, or where it has no digest.
"""

import html
import json
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import pyarrow as pa

from fer_core.json_reader import parse_object

Images = Iterable[tuple[str | None, str | None]]
"""Digest, None where unknown, and address, None where it is not to be named."""
IMAGES: Final = pa.schema([("image_sha256", pa.string()), ("image_uri", pa.string())])

_BEGIN, _END = b'<meta name="ferflow-output" content="', b'">'
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_KEYWORD: Final = b"ferflow-output\0"


def by_digest(images: Images) -> list[tuple[str | None, str | None]]:
    """Without the addresses of images whose digest is known."""
    return [(sha256, None if sha256 else uri) for sha256, uri in images]


def html_mark(kind: str, images: Images) -> str:
    """An element for the head of an HTML page, ASCII."""
    return f"{_BEGIN.decode()}{html.escape(_text(kind, images))}{_END.decode()}"


def png_mark(png: bytes, kind: str, images: Images) -> bytes:
    """A PNG file with the mark as a chunk of text behind its header."""
    content = b"tEXt" + _KEYWORD + _text(kind, images).encode()
    header = len(_PNG) + 25
    return png[:header] + struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content)) + png[header:]


def read_mark(data: bytes) -> tuple[str, pa.Table] | None:
    """Kind and images, `IMAGES`, of a page or picture; None where it has no valid mark."""
    text = next(_texts(data), None) if data.startswith(_PNG) else _attribute(data)
    if text is None:
        return None
    try:
        value = parse_object(text)
        images = [{"image_sha256": sha256, "image_uri": uri} for sha256, uri in value["images"]]
        return str(value["kind"]), pa.Table.from_pylist(images, IMAGES)
    except (ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _text(kind: str, images: Images) -> str:
    """JSON, ASCII. What is no UTF-8 becomes a backslash escape."""
    rows = [[sha256, uri and uri.encode(errors="backslashreplace").decode()] for sha256, uri in images]
    return json.dumps({"kind": kind, "images": rows}, separators=(",", ":"))


def _attribute(data: bytes) -> str | None:
    _, begin, rest = data.partition(_BEGIN)
    value, end, _ = rest.partition(_END)
    return html.unescape(value.decode("ascii", "replace")) if begin and end else None


def _texts(png: bytes) -> Iterator[bytes]:
    """The contents of the marks before the picture's data."""
    at = len(_PNG)
    while at + 8 <= len(png):
        (length,), name = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        if name == b"IDAT":
            return
        if name == b"tEXt" and png[at + 8 : at + 8 + length].startswith(_KEYWORD):
            yield png[at + 8 + len(_KEYWORD) : at + 8 + length]
        at += 12 + length
