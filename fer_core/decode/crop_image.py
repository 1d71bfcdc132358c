"""Kept faces -> pixels: the 112x112 PNG that ferflow writes, and nothing else.

They come from untrusted tables and face sets, thousands a file, and a table compresses well: five kilobytes of Parquet can
hold a picture of a billion pixels. So the header is checked first, then the general decoder's rules apply, and no other codec is tried.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.decode.image_format import png_kind
from fer_core.errors import ImageError
from fer_core.tables.schema import TOO_LARGE, UNSUPPORTED
from fer_core.tables.unpacked_size import CROP_BYTES
from fer_core.types import CROP_SIZE

LIMITS: Final = DecodeLimits(max_bytes=CROP_BYTES, max_pixels=CROP_SIZE**2)
_GREY, _RGB = 0, 2
_BITS: Final = 8


def check_crop(data: bytes | None) -> None:
    """ImageError unless these bytes begin as a kept face does. Nothing is decoded."""
    if not data:
        raise ImageError(UNSUPPORTED, "no picture")
    if len(data) > LIMITS.max_bytes:
        raise ImageError(TOO_LARGE, f"{len(data):,} bytes, more than {LIMITS.max_bytes:,}")
    width, height, bits, colour = png_kind(data) or (0, 0, 0, 0)
    if (width, height, bits) != (CROP_SIZE, CROP_SIZE, _BITS) or colour not in (_GREY, _RGB):
        raise ImageError(UNSUPPORTED, f"no {CROP_SIZE}x{CROP_SIZE} PNG image of 8-bit grey or colour")


def decode_crop(data: bytes | None) -> NDArray[np.uint8]:
    """(112, 112) grey or (112, 112, 3) RGB, as it is stored. ImageError for anything else."""
    check_crop(data)
    assert data is not None
    pixels = decode(data, LIMITS).pixels
    grey = (png_kind(data) or ())[3:] == (_GREY,)
    return np.ascontiguousarray(pixels[..., 0]) if grey else pixels


def colour_crop(data: bytes | None) -> NDArray[np.uint8]:
    """(112, 112, 3) RGB, also of a grey one. ImageError as above."""
    crop = decode_crop(data)
    return crop if crop.ndim == 3 else np.repeat(crop[..., None], 3, axis=2)
