"""JPEG pictures decoded on the GPU, where torchvision with NVJPEG is installed. Optional, and never the default.

NVJPEG's inverse transform and chroma interpolation are its own: pixels differ by a few grey levels from those of `decode`, and answers in
their last digits. Everything that `decode` treats in a special way is left to it.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile

from fer_core.decode import DecodeLimits
from fer_core.image_header import JPEG, image_format

_ORIENTATION_TAG: Final = 0x0112
_UPRIGHT: Final = 1


def plain(data: bytes, limits: DecodeLimits) -> bool:
    """Whether this is a baseline JPEG in YCbCr, without EXIF turn and within the limits: told by its header, nothing is decoded."""
    if len(data) > limits.max_bytes or image_format(data) != JPEG:
        return False
    try:
        with JpegImageFile(BytesIO(data)) as image:
            if image.width * image.height > limits.max_pixels or image.mode != "RGB" or image.info.get("progressive"):
                return False
            # three components named R, G, B, or Adobe's transform 0, are RGB
            ycbcr = image.info.get("adobe_transform", 1) == 1 and [layer[0] for layer in image.layer] != [ord(name) for name in "RGB"]
            return ycbcr and image.getexif().get(_ORIENTATION_TAG, _UPRIGHT) == _UPRIGHT
    except Exception:  # noqa: BLE001  whatever is odd about it, `decode` shall say what
        return False


def decoder_there(device: torch.device) -> bool:
    """Whether pictures can be decoded on this device."""
    return device.type == "cuda" and find_spec("torchvision") is not None


def decoded(encoded: Sequence[bytes], limits: DecodeLimits, device: torch.device) -> list[NDArray[np.uint8] | None]:
    """(H, W, 3) RGB uint8 of each picture, as `decode` gives it but for a few grey levels; None where `decode` has to do it."""
    out: list[NDArray[np.uint8] | None] = [None] * len(encoded)
    suitable = [number for number, data in enumerate(encoded) if plain(data, limits)] if decoder_there(device) else []
    if not suitable:
        return out
    from torchvision.io import ImageReadMode, decode_jpeg  # noqa: PLC0415  (optional)

    tensors = [torch.from_numpy(np.frombuffer(encoded[number], np.uint8).copy()) for number in suitable]
    try:
        planar = decode_jpeg(tensors, mode=ImageReadMode.RGB, device=device)
    except RuntimeError:  # one of them is damaged, or of a kind that NVJPEG does not read
        return out
    for number, pixels in zip(suitable, planar, strict=True):
        out[number] = pixels.permute(1, 2, 0).contiguous().cpu().numpy()
    return out
