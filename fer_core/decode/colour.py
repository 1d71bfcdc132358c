"""Pixels of any kind with a fixed meaning -> 8-bit RGB.

Fixed here, because results depend on it: transparency is composed over white; 16-bit samples keep their upper byte; CMYK is converted
without its profile, like all colours (profiles are ignored).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_core.errors import ImageError
from fer_core.tables.schema import UNSUPPORTED

STRIP_PIXELS: Final = 2**18

WHITE: Final = (255, 255, 255, 255)

_DIRECT_MODES: Final = frozenset({"1", "L", "RGB", "CMYK", "YCbCr", "HSV"})
_ALPHA_MODES: Final = frozenset({"LA", "La", "RGBA", "RGBa", "P", "PA"})
_GREY_16_MODES: Final = frozenset({"I;16", "I;16L", "I;16B"})

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0


def rgb_array(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3), C-contiguous. ImageError for a mode without a fixed meaning as 8-bit colour.

    By strips that stay in the processor's cache: of twelve megapixels it takes a quarter of the time that Pillow's conversion of the whole
    takes, which writes it three times.
    """
    image = _rgb(image)
    out, rows = np.empty((image.height, image.width, 3), np.uint8), max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        out[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return out


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
