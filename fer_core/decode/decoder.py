"""Encoded bytes -> upright RGB pixels. Only formats of the allow-list are decoded, and only after their header has been checked.

Of animations, pages and files of several pictures the first, or the one that the file names as its own, is taken; previews, depth and gain
maps are no pictures. docs/reference/formats.md says what is read, and what becomes of damage.
"""

import ctypes
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, _imaging
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from fer_core.decode.colour import rgb_array
from fer_core.decode.header_bounds import check_bounds, check_pixels, gif_size
from fer_core.decode.image_format import (
    AVIF,
    BMP,
    GIF,
    HEIF,
    JPEG,
    JPEG2000,
    JXL,
    PNG,
    RAW,
    TIFF,
    WEBP,
    describe_content,
    image_format,
    webp_size,
)
from fer_core.decode.jpeg_decoder import JpegPicture, decode_jpeg
from fer_core.decode.jxl_decoder import decode_jxl, jxl_size
from fer_core.decode.min_face import Reduction, in_full
from fer_core.decode.orientation import exif_turn, ignore_xmp, turned, turned_size
from fer_core.decode.png_chunks import essential_chunks
from fer_core.decode.raw_decoder import decode_raw
from fer_core.errors import ImageError
from fer_core.tables.schema import TOO_LARGE, UNREADABLE, UNSUPPORTED
from fer_core.types import Picture

_OPENERS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    PNG: PngImageFile,
    WEBP: WebPImageFile,
    BMP: BmpImageFile,
    TIFF: TiffImageFile,
    GIF: GifImageFile,
}
"""Used directly: `Image.open` hides why it could not open a file, and has a limit of pixels of its own, one for the whole process."""

_NAMES: Final = {WEBP: "WebP", JPEG2000: "JPEG 2000", JXL: "JPEG XL", RAW: "camera raw"}
"""In reasons, where they differ."""

_STRANGE: Final = (
    "unknown pixel mode",
    "unknown data organization",
    "cannot handle",
    "unsupported bmp",
    "unsupported feature",
    "unable to determine j2k image mode",
)
"""How errors of Pillow and libheif begin when a file is whole, but of a kind that they do not read."""

_HEAVY: Final = {JPEG2000: 2, JXL: 2}
"""Their decoders hold numbers of four bytes for each sample: so many times the pixels of others count against the limit."""

_NEW_SUBFILE_TYPE, _WIDTH, _LENGTH, _TILE_WIDTH, _TILE_LENGTH, _DNG_VERSION = 254, 256, 257, 322, 323, 50706
_THUMBNAIL: Final = 1


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What is decoded at most; beyond it a picture is `too_large`."""

    max_bytes: int = 64 * 2**20
    """Length of the encoded bytes."""
    max_pixels: int = 100_000_000
    """Width times height, read from the header before anything is decoded."""


def decode(
    data: bytes,
    limits: DecodeLimits,
    reduction: Reduction = in_full,
    admit: Callable[[int], None] = lambda _: None,
    *,
    luma: bool = False,
) -> Picture:
    """Decode one photograph.

    Pixels are (H, W, 3) RGB uint8, C-contiguous, read-only, upright. ImageError with status `unreadable` (empty, truncated, damaged),
    `unsupported` (another format, one whose extra is missing, or a kind of samples without a fixed meaning as 8-bit colour) or `too_large`.
    The reasons depend on the bytes alone.

    reduction: what the sides of a JPEG picture are divided by: its frequencies beyond are never computed. Others are decoded in full.
    admit: called once, with the number of pixels, before they are decoded.
    luma: of a JPEG picture in colour or grey, (H, W) luma alone, in three fifths of the time; of any other all the same (H, W, 3) RGB.
    """
    if not data:
        raise ImageError(UNREADABLE, "empty file")
    if len(data) > limits.max_bytes:
        raise ImageError(TOO_LARGE, f"{len(data):,} bytes, more than {limits.max_bytes:,}")
    name = image_format(data)
    if name is None:
        raise ImageError(UNSUPPORTED, f"{describe_content(data)}, not an image of a kind that is read")
    admitted = list[int]()

    def admit_once(pixels: int) -> None:
        if not admitted:  # what is decoded again, since it failed or is inside of another file, has its pixels already
            admitted.append(pixels)
            admit(pixels)

    with _plain_errors(name):
        stored = _stored(data, name, limits.max_pixels // _HEAVY.get(name, 1), reduction, admit_once, luma=luma)
    pixels = np.ascontiguousarray(turned(stored.pixels, stored.turn))
    pixels.flags.writeable = False
    width, height = turned_size(stored.size, stored.turn)
    return Picture(pixels, height, width, stored.damage)


def _stored(data: bytes, name: str, max_pixels: int, reduction: Reduction, admit: Callable[[int], None], *, luma: bool) -> JpegPicture:
    if name == JPEG:
        return decode_jpeg(data, max_pixels, reduction, admit, luma=luma)
    if name == RAW:
        return decode_raw(data, max_pixels, reduction, admit, luma=luma)
    if name == JXL:
        size = jxl_size(data)
        check_pixels(size, max_pixels)
        admit(size[0] * size[1] * _HEAVY[JXL])
        found = decode_jxl(data)
        return decode_jpeg(found, max_pixels, reduction, admit, luma=luma) if isinstance(found, bytes) else _whole(found, None)
    check_bounds(data, name)
    if name == TIFF and _is_camera_raw(data, max_pixels):
        return decode_raw(data, max_pixels, reduction, admit, luma=luma)
    try:
        return _by_pillow(data, name, max_pixels, admit)
    except (ImageError, MemoryError):
        raise
    except Exception:
        if name != PNG:
            raise
        return _by_pillow(essential_chunks(data), name, max_pixels, admit)


def _by_pillow(data: bytes, name: str, max_pixels: int, admit: Callable[[int], None]) -> JpegPicture:
    """A picture of a format of which nothing is left out."""
    if name in (WEBP, GIF):
        # their decoders reserve the whole canvas when they are opened; the others wait for `load`
        check_pixels(gif_size(data) if name == GIF else webp_size(data) or (0, 0), max_pixels)
    with _opener(name)(BytesIO(data)) as image:
        check_pixels(image.size, max_pixels)
        admit(image.width * image.height * _HEAVY.get(name, 1))
        ignore_xmp(image)
        image.load()
        return _whole(image, None if name == HEIF else exif_turn(image))


def upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a loaded image, as of a file. ImageError `unsupported`: samples without a fixed meaning as 8-bit colour."""
    return turned(rgb_array(image), exif_turn(image))


def _whole(image: Image.Image, turn: Image.Transpose | None) -> JpegPicture:
    return JpegPicture(rgb_array(image), image.size, turn, None)


def _opener(name: str) -> type[ImageFile.ImageFile]:
    """Those of rare formats load their libraries when they are used."""
    if name == HEIF:
        from pillow_heif import HeifImageFile

        return HeifImageFile
    if name == AVIF:
        from PIL.AvifImagePlugin import AvifImageFile

        return AvifImageFile
    if name == JPEG2000:
        from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

        return Jpeg2KImageFile
    return _OPENERS[name]


def _is_camera_raw(data: bytes, max_pixels: int) -> bool:
    """Whether a TIFF file is a raw photograph: the first page of most cameras' is a thumbnail. ImageError for a picture that is too large.

    A tile is decoded as a whole, however little of it belongs to the picture.
    """
    _quiet_libtiff()
    first = _first_page(data)
    if _DNG_VERSION in first or first.get(_NEW_SUBFILE_TYPE) == _THUMBNAIL:
        return True
    with TiffImageFile(BytesIO(data)) as image:
        check_pixels(image.size, max_pixels)
        tags = image.tag_v2
        tile = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
        check_pixels(tile, max_pixels)
        if all(tile):  # those at the right and at the bottom reach beyond the picture, and all may be the same bytes
            across, down = (-(-whole // part) for whole, part in zip((tags[_WIDTH], tags[_LENGTH]), tile, strict=True))
            check_pixels((across * tile[0], down * tile[1]), 2 * max_pixels)
    return False


def _first_page(data: bytes) -> ImageFileDirectory_v2:
    """Its tags, also where Pillow has no mode for its pixels."""
    stream = BytesIO(data)
    tags = ImageFileDirectory_v2(stream.read(16 if data[2:4] in (b"+\0", b"\0+") else 8))
    stream.seek(tags.next)
    tags.load(stream)
    return tags


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """Exceptions of a decoder become an ImageError, and its warnings about odd files are not shown."""
    with warnings.catch_warnings():
        # narrow on purpose: threads share the filters, and one that leaves late may leave this filter behind
        warnings.filterwarnings("ignore", module=r"PIL\.|fer_core\.decode")
        try:
            yield
        except ImageError:
            raise
        except MemoryError as error:
            raise ImageError(TOO_LARGE, f"the {_NAMES.get(name, name)} image does not fit into memory") from error
        except (
            Exception
        ) as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, KeyError and more on damaged files
            raise _judged(name, error) from error


def _judged(name: str, error: Exception) -> ImageError:
    """The ImageError for a decoder's error, without its text, which may differ from call to call and from release to release."""
    text, name = str(error).lower(), _NAMES.get(name, name)
    if text.startswith(_STRANGE):
        return ImageError(UNSUPPORTED, f"a {name} image of a kind that is not read (such as floating point or an odd number of bits)")
    if "security limit exceeded" in text:
        return ImageError(TOO_LARGE, f"a {name} image beyond the limits of its decoder")
    if "truncated" in text:
        return ImageError(UNREADABLE, f"truncated {name} image")
    return ImageError(UNREADABLE, f"damaged {name} image")


@cache
def _quiet_libtiff() -> None:
    """Keep the TIFF library from writing to stderr, where the progress bar is; its errors reach us as exceptions all the same."""
    try:
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)
    except (AttributeError, OSError):  # a Pillow with the library built in and hidden: lines on stderr do no harm
        pass
