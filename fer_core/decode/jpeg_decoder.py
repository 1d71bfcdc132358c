"""JPEG pixels by libjpeg-turbo, and what can be read of a damaged file.

simplejpeg raises an error where the decoder only warns, which Pillow does not show; its pixels are those of Pillow, bit for bit. What is
neither grey nor colour in three components is left to Pillow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from fer_core.decode.colour import rgb_array
from fer_core.decode.header_bounds import JpegLayout, check_pixels, jpeg_layout
from fer_core.decode.min_face import Reduction
from fer_core.decode.orientation import Turn, exif_turn
from fer_core.errors import ImageError
from fer_core.tables.schema import UNREADABLE

LEAST_ROWS: Final = 0.5
"""Share of a truncated picture that must be there; below it is `unreadable`."""
ZEROS: Final = 512
"""Zero bytes in a row, a sector of a disk, that no encoder writes unless its tables say so."""

_END: Final = b"\xff\xd9"
_UNSEEN: Final = (1, 254, 2)
"""A colour that marks rows which were not decoded."""


@dataclass(frozen=True, slots=True)
class JpegPicture:
    """One decoded JPEG file."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB, as stored, or (H, W) luma."""
    size: tuple[int, int]
    """Width and height of the photograph, as stored; `pixels` has fewer where it was decoded at a part of its size."""
    turn: Turn | None
    """What EXIF says makes it upright."""
    damage: str | None
    """What is wrong with it, if anything."""


def decode_jpeg(data: bytes, max_pixels: int, reduction: Reduction, admit: Callable[[int], None], *, luma: bool = False) -> JpegPicture:
    """Decode one file. reduction, admit, luma: see `decoder.decode`. ImageError, or any error of Pillow for what it cannot read."""
    layout = jpeg_layout(data)
    with JpegImageFile(BytesIO(data)) as image:
        check_pixels(image.size, max_pixels)
        full, turn = image.size, exif_turn(image)
        factor = reduction(max(full), min(full))
        _reduce(image, factor)
        admit(image.width * image.height)
        ended = data if layout.whole else data.rstrip(b"\0").removesuffix(b"\xff") + _END
        pixels, damage = _decoded(ended, layout, image, luma=luma)
    if pixels is not None and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    elif pixels is None or pixels.shape[2] != 3:
        with JpegImageFile(BytesIO(data if pixels is None else ended)) as image:
            _reduce(image, factor)
            pixels = rgb_array(image)
    return JpegPicture(pixels, full, turn, damage)


def _reduce(image: JpegImageFile, factor: int) -> None:
    """Have libjpeg compute every second, fourth or eighth pixel only, each a mean of those left out (scaled inverse transforms)."""
    if factor > 1:
        image.draft(image.mode, (image.width // factor, image.height // factor))


def _decoded(data: bytes, layout: JpegLayout, image: JpegImageFile, *, luma: bool) -> tuple[NDArray[np.uint8] | None, str | None]:
    """Pixels, RGB, luma or CMYK, and damage. data: has an end marker. No pixels where it fails. ImageError where too little is there."""
    colours = "CMYK" if image.mode not in {"RGB", "L"} else "GRAY" if luma else "RGB"
    damage = None
    pixels = _turbo(data, colours, image.size, strict=True)
    if pixels is None:
        pixels = _turbo(data, colours, image.size, strict=False)
        if pixels is not None:
            damage = "damaged JPEG image" if layout.whole else _truncated(data.removesuffix(_END), layout)
    elif not layout.zeros_are_pixels and data.find(bytes(ZEROS), layout.start, layout.end) >= 0:
        damage = "damaged JPEG image: zeros in place of pixels"
    return pixels, damage


def _turbo(data: bytes, colours: str, size: tuple[int, int], *, strict: bool) -> NDArray[np.uint8] | None:
    """None where it fails. strict: also where the decoder warns."""
    import simplejpeg

    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colours, min_width=size[0], min_height=size[1], strict=strict)
    except ValueError:
        return None
    return pixels if pixels.shape[1::-1] == size else None


def _truncated(data: bytes, layout: JpegLayout) -> str:
    """What is said of it. ImageError where too few rows are there. Of a progressive file, a first scan holds a coarse whole."""
    if layout.progressive:
        if layout.scans < 2:
            raise ImageError(UNREADABLE, "truncated JPEG image")
        return "truncated JPEG image: some of its detail is missing"
    share = _share_of_rows(data)
    if share < LEAST_ROWS:
        raise ImageError(UNREADABLE, "truncated JPEG image")
    return f"truncated JPEG image: {share:.0%} of its rows are there"


def _share_of_rows(data: bytes) -> float:
    """Counted at an eighth of the size: Pillow keeps the rows that it has when the bytes end."""
    with JpegImageFile(BytesIO(data)) as image:
        image.draft(image.mode, (image.width // 8, image.height // 8))
        unseen = Image.new("RGB", image.size, _UNSEEN).convert(image.mode)
        image.im = unseen.im.copy()
        try:
            image.load()
        except OSError:
            image.tile = []  # nothing is left to load
        seen = np.asarray(image) != np.asarray(unseen)
        rows = np.flatnonzero(seen.reshape(image.height, -1).any(axis=1))
        return float(rows[-1] + 1) / image.height if len(rows) else 0.0
