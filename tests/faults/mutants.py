"""Real image files and lists, and what becomes of them when bytes are changed, lost, doubled or mixed up.

A function of seed and number alone, given the pictures.
"""

import csv
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.random import Generator
from PIL import Image

from tests.support.broken_images import encoded, sixteen_bits
from tests.support.odd_formats import dng, heic, jxl

INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
HEADER = 256
"""Where most of what a decoder believes is written."""


def image_files(pictures: Sequence[Image.Image]) -> dict[str, bytes]:
    """Each picture in every format, and in the ways of each that take another path through its decoder; `FORMAT/way/number` -> content."""
    files = {}
    for number, picture in enumerate(pictures):
        image = picture.convert("RGB")
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "camera"
        alpha = image.copy()
        alpha.putalpha(128)
        turned = image.rotate(90)
        even = image.resize((image.width // 4 * 2, image.height // 4 * 2))
        ways = {
            "JPEG/baseline": encoded(image, "JPEG", quality=90, exif=exif),
            "JPEG/progressive": encoded(image, "JPEG", quality=85, progressive=True),
            "JPEG/grey": encoded(image.convert("L"), "JPEG"),
            "JPEG/cmyk": encoded(image.convert("CMYK"), "JPEG"),
            "JPEG/restarts": encoded(image, "JPEG", restart_marker_blocks=4),
            "PNG/rgb": encoded(image, "PNG", exif=exif, compress_level=1),
            "PNG/palette": encoded(image.quantize(64), "PNG", transparency=3),
            "PNG/alpha": encoded(alpha, "PNG", compress_level=1),
            "PNG/16 bits": sixteen_bits(np.asarray(image), ".png"),
            "PNG/animated": encoded(image, "PNG", save_all=True, append_images=[turned], compress_level=1),
            "WEBP/lossy": encoded(image, "WEBP", quality=80, exif=exif),
            "WEBP/lossless": encoded(alpha, "WEBP", lossless=True, method=0),
            "WEBP/animated": encoded(image, "WEBP", save_all=True, append_images=[turned]),
            "TIFF/plain": encoded(image, "TIFF", exif=exif),
            "TIFF/lzw": encoded(image, "TIFF", compression="tiff_lzw"),
            "TIFF/deflate": encoded(image, "TIFF", compression="tiff_adobe_deflate"),
            "TIFF/jpeg": encoded(image, "TIFF", compression="jpeg"),
            "TIFF/fax": encoded(image.convert("1"), "TIFF", compression="group4"),
            "TIFF/packbits": encoded(image.convert("L"), "TIFF", compression="packbits"),
            "TIFF/16 bits": sixteen_bits(np.asarray(image), ".tif"),
            "TIFF/pages": encoded(image, "TIFF", save_all=True, append_images=[turned], big_tiff=True),
            "BMP/plain": encoded(image, "BMP"),
            "GIF/animated": encoded(image, "GIF", save_all=True, append_images=[turned], comment=b"by hand", transparency=3),
            "HEIF/plain": heic(image, exif=exif.tobytes()),
            "HEIF/alpha": heic(alpha),
            "HEIF/tiles": heic(image, image.resize((64, 64)), tile_size=128),
            "AVIF/plain": encoded(image, "AVIF", quality=80, exif=exif),
            "AVIF/alpha": encoded(alpha, "AVIF", quality=60, speed=8),
            "JPEG2000/boxes": encoded(image, "JPEG2000", quality_mode="dB", quality_layers=[40]),
            "JPEG2000/tiles": encoded(image, "JPEG2000", no_jp2=True, tile_size=(64, 64)),
            "JPEG2000/alpha": encoded(alpha, "JPEG2000"),
            "JXL/plain": jxl(image),
            "JXL/boxes": jxl(alpha, use_container=True, exif=exif.tobytes()),
            "RAW/mosaic": dng(np.asarray(even)),
            "RAW/preview": dng(np.asarray(even), encoded(image, "JPEG", quality=90)),
            "MPO/two": encoded(image, "MPO", save_all=True, append_images=[turned]),
        }
        files |= {f"{way}/{number}": data for way, data in ways.items()}
    return files


def list_files() -> dict[str, bytes]:
    """Lists as people and programs write them; `FORMAT/way` -> content."""
    uris = [f"s3://bucket/photos/ünï {number:03d}.jpg" for number in range(60)]
    table = io.StringIO()
    csv.writer(table).writerows([("name", "image_uri"), *((f'a "quoted", name {uri[-7:]}', uri) for uri in uris)])
    columns = {
        "plain": pa.table({"path": uris, "size": list(range(60))}),
        "nested": pa.table({"meta": [[{"tag": uri, "n": [1, 2]}] for uri in uris], "uri": uris}),
        "dictionary": pa.table({"image": pa.array(uris * 5).dictionary_encode()}),
        "nulls": pa.table({"file": [None if number % 3 else uri for number, uri in enumerate(uris)]}),
    }
    return {
        "txt/plain": "\r\n".join(uris).encode(),
        "txt/relative": "\n".join(uri.rpartition("/")[2] for uri in uris).encode("utf-8-sig"),
        "csv/quoted": table.getvalue().encode(),
        "csv/semicolons": "\n".join(["path;size", *(f"{uri};1" for uri in uris)]).encode(),
        **{f"parquet/{name}, {compression}": _parquet(columns[name], compression) for name in columns for compression in ("none", "zstd")},
    }


def pictures_of(folder: Path | None, longest: int = 320) -> list[Image.Image]:
    """Photographs of a folder, at two sizes; without one, the portrait that comes with scikit-image."""
    from tests.support.broken_images import portrait

    if folder is None:
        return [Image.fromarray(portrait()).resize((96, 100))]
    found = [Image.open(file).convert("RGB") for file in sorted(folder.glob("*.jpg"))]
    for number, picture in enumerate(found):
        picture.thumbnail((longest, longest) if number % 3 else (1024, 1024))
    return found


def mutant(files: dict[str, bytes], seed: int, number: int) -> tuple[str, bytes]:
    """The `number`-th mutant under a seed: the name of the file it was made of, and its bytes."""
    random = np.random.default_rng([seed, number])
    name = list(files)[number % len(files)]
    data = bytearray(files[name])
    for _ in range(int(random.integers(1, 4))):
        change = _CHANGES[int(random.integers(len(_CHANGES)))]
        change(data, random, files)
    if name.startswith("PNG") and number % 2:
        _vouch(data)
    return name, bytes(data)


def _vouch(png: bytearray) -> None:
    """Make the checksums right again, or what is behind them is never looked at."""
    at = 8
    while at + 12 <= len(png):
        end = at + 8 + struct.unpack_from(">I", png, at)[0]
        if end + 4 > len(png):
            return
        struct.pack_into(">I", png, end, zlib.crc32(png[at + 4 : end]))
        at = end + 4


def _place(data: bytearray, random: Generator) -> int:
    """Half of the time in the header."""
    return int(random.integers(min(HEADER, len(data)) if random.random() < 0.5 else len(data))) if data else 0


def _flip(data: bytearray, random: Generator, _: dict[str, bytes]) -> None:
    for _ in range(int(random.choice((1, 1, 2, 8, 64)))):
        if data:
            data[_place(data, random)] ^= 1 << int(random.integers(8))


def _set(data: bytearray, random: Generator, _: dict[str, bytes]) -> None:
    for _ in range(int(random.choice((1, 2, 4)))):
        at, size = _place(data, random), int(random.choice((1, 2, 4)))
        data[at : at + size] = bytes([INTERESTING[int(random.integers(len(INTERESTING)))]]) * size


def _cut(data: bytearray, random: Generator, _: dict[str, bytes]) -> None:
    del data[_place(data, random) :]


def _lose(data: bytearray, random: Generator, _: dict[str, bytes]) -> None:
    at = _place(data, random)
    del data[at : at + int(random.integers(1, 512))]


def _double(data: bytearray, random: Generator, _: dict[str, bytes]) -> None:
    at = _place(data, random)
    piece = bytes(data[at : at + int(random.integers(1, 2048))])
    data[at:at] = piece * int(random.choice((1, 1, 3, 50)))


def _insert(data: bytearray, random: Generator, _: dict[str, bytes]) -> None:
    at = _place(data, random)
    data[at:at] = random.bytes(int(random.integers(1, 64)))


def _mix(data: bytearray, random: Generator, files: dict[str, bytes]) -> None:
    other = list(files.values())[int(random.integers(len(files)))]
    at = _place(data, random)
    data[at:] = other[int(random.integers(len(other))) :]


_CHANGES = (_flip, _flip, _flip, _set, _set, _cut, _lose, _double, _insert, _mix)


def _parquet(table: pa.Table, compression: str) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, compression=compression)
    return stream.getvalue()
