"""One file of every format that is read, and of every damage, with what becomes of it; docs/reference/formats.md has the same rows."""

import struct
import zlib
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.broken_images import UPRIGHT_TURNS, _chunk, encoded, portrait, sixteen_bits


def heic(*pictures: Image.Image, **options: object) -> bytes:
    """A HEIC file; options: those of pillow-heif."""
    from pillow_heif import HeifFile

    stream, file = BytesIO(), HeifFile()
    for picture in pictures:
        file.add_from_pillow(picture)
    file.save(stream, quality=90, **options)
    return stream.getvalue()


def jxl(picture: Image.Image, **options: object) -> bytes:
    """A JPEG XL file."""
    import pillow_jxl  # noqa: F401  registers itself with Pillow

    return encoded(picture, "JXL", quality=90, **options)


def jxl_of_jpeg(folder, jpeg: bytes) -> bytes:
    """A JPEG file that is packed without loss."""
    import warnings

    import pillow_jxl  # noqa: F401  registers itself with Pillow

    file = folder / "packed.jpg"
    file.write_bytes(jpeg)
    with warnings.catch_warnings(), Image.open(file) as image:
        warnings.simplefilter("ignore")
        return encoded(image, "JXL")


def _directory(tags: dict[int, tuple[int, int, bytes]], at: int) -> bytes:
    """An image file directory at that offset, little-endian; values of more than four bytes lie behind it."""
    values, entries = b"", b""
    behind = at + 2 + 12 * len(tags) + 4
    for tag, (kind, count, value) in sorted(tags.items()):
        place = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack("<I", behind + len(values))
        values += value if len(value) > 4 else b""
        values += b"\0" * (len(values) % 2)
        entries += struct.pack("<HHI", tag, kind, count) + place
    return struct.pack("<H", len(tags)) + entries + bytes(4) + values


def dng(pixels: NDArray[np.uint8], preview: bytes | None = None, flip: int = 1) -> bytes:
    """A camera raw file: an uncompressed Bayer mosaic, and perhaps a preview. pixels: as the sensor sees them; even sides."""
    short, long, byte, rational = 3, 4, 1, 10
    height, width = pixels.shape[:2]
    mosaic = np.empty((height, width), "<u2")
    for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[row::2, column::2] = (pixels[row::2, column::2, channel] / 255.0) ** 2.2 * 65535
    strip = mosaic.tobytes()
    raw_at = 8 + len(strip) + len(preview or b"")
    raw_at += raw_at % 2

    def shorts(*numbers: int) -> tuple[int, int, bytes]:
        return short, len(numbers), struct.pack(f"<{len(numbers)}H", *numbers)

    def longs(*numbers: int) -> tuple[int, int, bytes]:
        return long, len(numbers), struct.pack(f"<{len(numbers)}I", *numbers)

    ones = b"".join(struct.pack("<ii", number, 1) for number in (1, 0, 0, 0, 1, 0, 0, 0, 1))
    sensor = {
        254: longs(0),
        256: longs(width),
        257: longs(height),
        258: shorts(16),
        259: shorts(1),
        262: shorts(32803),
        273: longs(8),
        277: shorts(1),
        278: longs(height),
        279: longs(len(strip)),
        33421: shorts(2, 2),
        33422: (byte, 4, bytes((0, 1, 1, 2))),
    }
    camera = {
        271: (2, 5, b"Test\0"),
        272: (2, 5, b"Test\0"),
        274: shorts(flip),
        50706: (byte, 4, bytes((1, 4, 0, 0))),
        50708: (2, 5, b"Test\0"),
        50721: (rational, 9, ones),
        50778: shorts(21),
    }
    if preview is None:
        main = _directory({**sensor, **camera}, raw_at)
        return _tiff(raw_at, strip, main)
    behind = _directory(sensor, raw_at)
    main_at = raw_at + len(behind)
    with Image.open(BytesIO(preview)) as image:
        across, down = image.size
    first = {
        254: longs(1),
        256: longs(across),
        257: longs(down),
        258: shorts(8, 8, 8),
        259: shorts(7),
        262: shorts(6),
        273: longs(8 + len(strip)),
        277: shorts(3),
        278: longs(down),
        279: longs(len(preview)),
        330: longs(raw_at),
    }
    return _tiff(main_at, (strip + preview).ljust(raw_at - 8, b"\0") + behind, _directory({**first, **camera}, main_at))


def _tiff(start: int, content: bytes, directory: bytes) -> bytes:
    return (b"II*\0" + struct.pack("<I", start) + content).ljust(start, b"\0") + directory


def turned(picture: Image.Image, orientation: int) -> Image.Image:
    """As it is stored so that this EXIF orientation makes it upright."""
    turn = UPRIGHT_TURNS[orientation]
    return picture if turn is None else picture.transpose(turn)


def png_with(chunk: bytes, *, end: bool = True) -> bytes:
    """A PNG file with a chunk before its pixels, and perhaps without its end."""
    data = encoded(portrait(), "PNG")
    return data[:33] + chunk + (data[33:] if end else data[33:-12])


def with_bad_checksum(kind: bytes, content: bytes) -> bytes:
    """A chunk whose content was changed."""
    chunk = bytearray(_chunk(kind, content))
    chunk[-1] ^= 1
    return bytes(chunk)


def zeroed(jpeg: bytes, at: float, count: int = 4096) -> bytes:
    """With zeros in place of some bytes, as a lost part of a disk leaves them."""
    start = int(len(jpeg) * at)
    return jpeg[:start] + bytes(count) + jpeg[start + count :]


def read_files() -> dict[str, bytes]:
    """Files that are read whole and show the portrait upright, by format."""
    image = Image.fromarray(portrait())
    smaller = image.resize((192, 200))
    return {
        "JPEG": encoded(image, "JPEG", quality=92),
        "MPO": encoded(image, "MPO", save_all=True, append_images=[image.rotate(180)], quality=92),
        "PNG": encoded(image, "PNG"),
        "WebP": encoded(image, "WEBP", quality=90),
        "BMP": encoded(image, "BMP"),
        "TIFF": encoded(image, "TIFF", compression="tiff_lzw"),
        "16 bits": sixteen_bits(portrait(), ".png"),
        "GIF": encoded(image, "GIF", save_all=True, append_images=[image.rotate(180)]),
        "HEIC": heic(image),
        "AVIF": encoded(image, "AVIF", quality=90),
        "JPEG 2000": encoded(image, "JPEG2000", quality_mode="dB", quality_layers=[45]),
        "JPEG 2000 codestream": encoded(image, "JPEG2000", no_jp2=True),
        "JPEG XL": jxl(image),
        "camera raw, preview": dng(np.asarray(smaller), encoded(image, "JPEG", quality=92)),
        "camera raw": dng(portrait()),
    }


def damaged_files() -> dict[str, tuple[bytes, str, str | None]]:
    """Damage -> file, status, reason; of one portrait."""
    image = Image.fromarray(portrait())
    jpeg, progressive, png = encoded(image, "JPEG", quality=92), encoded(image, "JPEG", progressive=True), encoded(image, "PNG")
    text = b"k\0\0" + zlib.compress(bytes(10**8))
    return {
        "JPEG without its end bytes": (jpeg[:-2], "labeled", None),
        "JPEG with zeros behind its pixels": (jpeg[:-2] + bytes(5000), "labeled", None),
        "JPEG without its last hundredths": (jpeg[: int(len(jpeg) * 0.96)], "labeled", "truncated JPEG image: 96% of its rows are there"),
        "JPEG, less than half": (jpeg[: len(jpeg) // 3], "unreadable", "truncated JPEG image"),
        "progressive JPEG, cut short": (
            progressive[: len(progressive) // 2],
            "labeled",
            "truncated JPEG image: some of its detail is missing",
        ),
        "JPEG with zeros inside": (zeroed(jpeg, 0.8), "labeled", "damaged JPEG image"),
        "PNG with a large zTXt": (png_with(_chunk(b"zTXt", text)), "labeled", None),
        "PNG with a large iCCP": (png_with(_chunk(b"iCCP", text)), "labeled", None),
        "PNG with a wrong checksum beside its pixels": (png_with(with_bad_checksum(b"tIME", bytes(7))), "labeled", None),
        "PNG without its end": (png_with(b"", end=False), "labeled", None),
        "PNG, cut short": (png[: len(png) // 2], "unreadable", "truncated PNG image"),
        "PNG with damaged pixels": (png[:2000] + bytes(2000) + png[4000:], "unreadable", "damaged PNG image"),
        "WebP, cut short": (encoded(image, "WEBP")[:4000], "unreadable", "damaged WebP image"),
        "BMP, cut short": (encoded(image, "BMP")[:-1000], "unreadable", "truncated BMP image"),
        "TIFF, cut short": (encoded(image, "TIFF")[:-200_000], "unreadable", "truncated TIFF image"),
        "GIF, cut short": (encoded(image, "GIF")[:20_000], "unreadable", "truncated GIF image"),
        "HEIC, cut short": (heic(image)[:8000], "unreadable", "damaged HEIF image"),
        "AVIF, cut short": (encoded(image, "AVIF")[:4000], "unreadable", "damaged AVIF image"),
        "JPEG 2000, cut short": (encoded(image, "JPEG2000")[:20_000], "unreadable", "damaged JPEG 2000 image"),
        "JPEG XL, cut short": (jxl(image)[:8000], "unreadable", "damaged JPEG XL image"),
    }
