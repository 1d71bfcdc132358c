"""Camera raw files (extra `raw`): the preview that the camera made, or else what LibRaw develops."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Final

import numpy as np

from fer_core.decode.extras import missing_extra
from fer_core.decode.header_bounds import check_pixels
from fer_core.decode.jpeg_decoder import JpegPicture, decode_jpeg
from fer_core.decode.min_face import Reduction
from fer_core.decode.orientation import Turn
from fer_core.errors import ImageError
from fer_core.tables.schema import UNSUPPORTED

if TYPE_CHECKING:
    import rawpy

PREVIEW_SHARE: Final = 0.5
"""Of the longest side: a smaller preview is not used."""

_TURNS: Final[dict[int, Turn]] = {3: Turn.ROTATE_180, 5: Turn.ROTATE_90, 6: Turn.ROTATE_270}
"""LibRaw's `flip`; 0 is upright."""


def decode_raw(data: bytes, max_pixels: int, reduction: Reduction, admit: Callable[[int], None], *, luma: bool = False) -> JpegPicture:
    """The photograph, as stored. reduction, admit, luma: see `decoder.decode`.

    ImageError, or an error of LibRaw where its pixels are damaged.
    """
    try:
        import rawpy
    except ImportError:
        raise missing_extra("a camera raw file", "raw") from None
    raw = rawpy.RawPy()
    try:
        raw.open_buffer(BytesIO(data))
    except rawpy.LibRawError as error:
        raise ImageError(UNSUPPORTED, "a camera raw file of a kind that LibRaw does not open") from error
    with raw:
        sensor = raw.sizes.raw_width, raw.sizes.raw_height
        check_pixels(sensor, max_pixels)
        admit(sensor[0] * sensor[1])
        preview = _preview(raw)
        if preview is not None:
            picture = decode_jpeg(preview, max_pixels, reduction, admit, luma=luma)
            if max(picture.size) >= PREVIEW_SHARE * max(sensor):
                turn = _TURNS.get(raw.sizes.flip)
                # few cameras turn their preview: then its sides are those of the upright picture
                is_upright = turn not in (None, Turn.ROTATE_180) and (picture.size[0] < picture.size[1]) != (sensor[0] < sensor[1])
                return replace(picture, turn=None if is_upright else turn)
        pixels = np.ascontiguousarray(raw.postprocess(use_camera_wb=True, output_bps=8), np.uint8)
        return JpegPicture(pixels, (pixels.shape[1], pixels.shape[0]), None, None)


def _preview(raw: "rawpy.RawPy") -> bytes | None:
    """A JPEG file; None where there is none."""
    import rawpy

    try:
        preview = raw.extract_thumb()
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError):
        return None
    return preview.data if isinstance(preview.data, bytes) else None  # else pixels of a small bitmap
