"""How a stored picture is turned upright.

By EXIF alone, as browsers and viewers do. An orientation in XMP does not count: programs that turn the pixels remove the one in EXIF and
leave that one behind, so it is not known which pictures it still holds for. HEIF, AVIF and JPEG XL have a turn of their own, which their
decoders apply; EXIF is information only there.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_core.decode.header_bounds import check_exif

Turn = Image.Transpose

_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final[dict[int, Turn]] = {
    2: Turn.FLIP_LEFT_RIGHT,
    3: Turn.ROTATE_180,
    4: Turn.FLIP_TOP_BOTTOM,
    5: Turn.TRANSPOSE,
    6: Turn.ROTATE_270,
    7: Turn.TRANSVERSE,
    8: Turn.ROTATE_90,
}
"""EXIF orientation -> what makes the picture upright (EXIF 2.32, tag 0x0112). 1, and anything undefined, is upright."""

_SIDEWAYS: Final = frozenset((Turn.TRANSPOSE, Turn.ROTATE_270, Turn.TRANSVERSE, Turn.ROTATE_90))
_XMP: Final = ("xmp", "XML:com.adobe.xmp")
"""Where Pillow keeps it, and finds an orientation if EXIF has none."""


def ignore_xmp(image: Image.Image) -> None:
    """Keep Pillow from turning the picture by XMP."""
    for name in _XMP:
        image.info.pop(name, None)


def exif_turn(image: Image.Image) -> Turn | None:
    """The turn from EXIF. Called after `load` where EXIF may be behind the pixels; TIFF is turned by Pillow's load."""
    check_exif(len(image.info.get("exif") or b""))
    ignore_xmp(image)
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001  a photograph with broken EXIF is still one, and the parser fails in as many ways as EXIF can be broken
        return None
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def turned(pixels: NDArray[np.uint8], turn: Turn | None) -> NDArray[np.uint8]:
    """(H, W, 3) or (H, W) -> the same or (W, H, 3) or (W, H), C-contiguous."""
    import cv2

    if turn is None:
        return pixels
    if turn == Turn.TRANSPOSE:
        upright = cv2.transpose(pixels)
    elif turn == Turn.TRANSVERSE:
        upright = cv2.flip(cv2.transpose(pixels), -1)
    elif turn in (Turn.FLIP_LEFT_RIGHT, Turn.FLIP_TOP_BOTTOM):
        upright = cv2.flip(pixels, int(turn == Turn.FLIP_LEFT_RIGHT))
    else:
        codes = {
            Turn.ROTATE_90: cv2.ROTATE_90_COUNTERCLOCKWISE,
            Turn.ROTATE_180: cv2.ROTATE_180,
            Turn.ROTATE_270: cv2.ROTATE_90_CLOCKWISE,
        }
        upright = cv2.rotate(pixels, codes[turn])
    return np.asarray(upright, np.uint8)


def turned_size(size: tuple[int, int], turn: Turn | None) -> tuple[int, int]:
    """Width and height of the upright picture."""
    return size[::-1] if turn in _SIDEWAYS else size
