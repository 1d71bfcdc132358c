"""Encoded bytes -> upright RGB pixels. Only formats of the allow-list are decoded, and only after their header has been checked.

Fixed here, because results depend on it: transparency is composed over white; 16-bit samples keep their upper byte; CMYK is converted
without its profile, like all colours (profiles are ignored); of animations and pages the first is taken.
"""

import ctypes
import hashlib
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
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from fer_core.decode.header_bounds import check_bounds, check_exif
from fer_core.decode.image_format import BMP, JPEG, PNG, TIFF, WEBP, describe_content, image_format, webp_size
from fer_core.decode.min_face import Reduction, in_full
from fer_core.errors import ImageError
from fer_core.tables.schema import TOO_LARGE, UNREADABLE, UNSUPPORTED
from fer_core.types import Picture

_OPENERS: Final[dict[str, type[ImageFile.ImageFile]]] = {
    JPEG: JpegImageFile,
    PNG: PngImageFile,
    WEBP: WebPImageFile,
    BMP: BmpImageFile,
    TIFF: TiffImageFile,
}
"""Used directly: `Image.open` hides why it could not open a file, and has a limit of pixels of its own, one for the whole process."""

_STRANGE: Final = ("unknown pixel mode", "unknown data organization", "cannot handle", "unsupported bmp")
"""How Pillow's errors begin when a file is whole, but of a kind that it does not read."""

STRIP_PIXELS: Final = 2**18

WHITE: Final = (255, 255, 255, 255)

_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final[dict[int, Image.Transpose]] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright (EXIF 2.32, tag 0x0112). 1, and anything undefined, is upright."""

_SIDEWAYS: Final = (Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90)

_DIRECT_MODES: Final = frozenset({"1", "L", "RGB", "CMYK", "YCbCr", "HSV"})
_ALPHA_MODES: Final = frozenset({"LA", "La", "RGBA", "RGBa", "P", "PA"})
_GREY_16_MODES: Final = frozenset({"I;16", "I;16L", "I;16B"})

_NEW_SUBFILE_TYPE, _WIDTH, _LENGTH, _PHOTOMETRIC, _TILE_WIDTH, _TILE_LENGTH, _DNG_VERSION = 254, 256, 257, 262, 322, 323, 50706
_THUMBNAIL, _WHITE_IS_ZERO = 1, 0


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What is decoded at most; beyond it a picture is `too_large`."""

    max_bytes: int = 64 * 2**20
    """Length of the encoded bytes."""
    max_pixels: int = 100_000_000
    """Width times height, read from the header before anything is decoded."""


def decode(data: bytes, limits: DecodeLimits, reduction: Reduction = in_full, admit: Callable[[int], None] = lambda _: None) -> Picture:
    """Decode one photograph.

    Pixels are (H, W, 3) RGB uint8, C-contiguous, read-only, upright. ImageError with status `unreadable` (empty, truncated, damaged),
    `unsupported` (another format, or a kind of samples without a fixed meaning as 8-bit colour) or `too_large`. The reasons depend on the
    bytes alone.

    reduction: what the sides of a JPEG picture are divided by: its frequencies beyond are never computed. Others are decoded in full.
    admit: called with the number of pixels before they are decoded.
    """
    if not data:
        raise ImageError(UNREADABLE, "empty file")
    if len(data) > limits.max_bytes:
        raise ImageError(TOO_LARGE, f"{len(data):,} bytes, more than {limits.max_bytes:,}")
    name = image_format(data)
    if name is None:
        raise ImageError(UNSUPPORTED, f"{describe_content(data)}, not a JPEG, PNG, WebP, BMP or TIFF image")
    with _plain_errors(name):
        pixels, shrunk = _pixels(data, name, limits.max_pixels, reduction, admit)
    return Picture(pixels, hashlib.sha256(data).hexdigest(), len(data), *shrunk)


def _pixels(
    data: bytes, name: str, max_pixels: int, reduction: Reduction, admit: Callable[[int], None]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """(H, W, 3) RGB uint8, upright, and the full height and width."""
    check_bounds(data, name)
    if name == WEBP:
        # its decoder reserves the whole canvas when it is opened; the others wait for `load`
        _check_pixels(webp_size(data) or (0, 0), max_pixels)
    if name == TIFF:
        _quiet_libtiff()
    with _OPENERS[name](BytesIO(data)) as image:
        _check_pixels(image.size, max_pixels)
        if name == TIFF:
            _check_tiff(image, max_pixels)
        full = image.size
        reduced = isinstance(image, JpegImageFile) and _reduce(image, reduction(max(full), min(full)))
        admit(image.width * image.height)
        image.load()
        turn = _turn(image)
        pixels = _array(_rgb(image if turn is None else image.transpose(turn)))
        if not reduced:
            return pixels, (pixels.shape[0], pixels.shape[1])
        return pixels, full if turn in _SIDEWAYS else full[::-1]


def upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a loaded image, as of a file. ImageError `unsupported`: samples without a fixed meaning as 8-bit colour."""
    turn = _turn(image)
    return _array(_rgb(image if turn is None else image.transpose(turn)))


def _array(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3), C-contiguous, read-only. By strips that stay in the processor's cache: of twelve megapixels it takes a quarter of the time
    that Pillow's conversion of the whole takes, which writes it three times."""
    out, rows = np.empty((image.height, image.width, 3), np.uint8), max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        out[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    out.flags.writeable = False
    return out


def _reduce(image: JpegImageFile, factor: int) -> bool:
    """Have libjpeg compute every second, fourth or eighth pixel only, each a mean of those left out (scaled inverse transforms)."""
    return factor > 1 and image.draft(image.mode, (image.width // factor, image.height // factor)) is not None


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(TOO_LARGE, f"{width:,} x {height:,} pixels, more than {max_pixels:,}")


def _check_tiff(image: Image.Image, max_pixels: int) -> None:
    """Raw photographs of most cameras are TIFF files whose first page is a thumbnail: it is not the picture. A tile is decoded as a whole,
    however little of it belongs to the picture.
    """
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(_TILE_WIDTH, 0), tags.get(_TILE_LENGTH, 0)
    _check_pixels(tile, max_pixels)
    if all(tile):  # those at the right and at the bottom reach beyond the picture, and all may be the same bytes
        across, down = (-(-whole // part) for whole, part in zip((tags[_WIDTH], tags[_LENGTH]), tile, strict=True))
        _check_pixels((across * tile[0], down * tile[1]), 2 * max_pixels)
    if _DNG_VERSION in tags or tags.get(_NEW_SUBFILE_TYPE) == _THUMBNAIL:
        raise ImageError(UNSUPPORTED, "a camera raw file or a thumbnail, not a plain TIFF image")


def _turn(image: Image.Image) -> Image.Transpose | None:
    """The rotation from EXIF. Called after `load`: a PNG may have its EXIF behind the pixels, and TIFF is rotated by Pillow's load."""
    check_exif(len(image.info.get("exif") or b""))
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  a photograph with broken EXIF is still one, and the parser fails in as many ways as EXIF can be broken
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode with a fixed meaning as 8-bit colour -> mode RGB."""
    if image.mode in _GREY_16_MODES:
        return _eight_bits(image).convert("RGB")
    if image.mode in _ALPHA_MODES or (image.mode in _DIRECT_MODES and "transparency" in image.info):
        return _on_white(image)
    if image.mode in _DIRECT_MODES:
        return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it
    raise ImageError(UNSUPPORTED, f"pixels of kind {image.mode}, neither 8-bit nor 16-bit grey or colour")


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode in {"La", "PA"}:
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    colour = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", colour.size, WHITE), colour).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey by its upper byte, as Pillow does for 16-bit colour; converting it would clip at 255 instead."""
    grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
    if getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey
    return Image.fromarray(grey)


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
            raise ImageError(TOO_LARGE, f"the {name} image does not fit into memory") from error
        except (
            Exception
        ) as error:  # Pillow's plugins raise OSError, SyntaxError, ValueError, struct.error, KeyError and more on damaged files
            raise _judged(name, error) from error


def _judged(name: str, error: Exception) -> ImageError:
    """The ImageError for a decoder's error, without its text, which may differ from call to call and from release to release."""
    text, name = str(error).lower(), {WEBP: "WebP"}.get(name, name)
    if text.startswith(_STRANGE):
        return ImageError(UNSUPPORTED, f"a {name} image of a kind that is not read (such as floating point or an odd number of bits)")
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
