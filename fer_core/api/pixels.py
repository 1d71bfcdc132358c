"""Arrays, PIL images and tensors -> (H, W, 3) RGB uint8 pixels, as the decoder would give them."""

import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer_core.decode.decoder import upright_rgb
from fer_core.errors import ImageError, UsageError

if TYPE_CHECKING:
    import torch

_CHANNELS = (1, 3, 4)
"""Grey, RGB, RGBA."""


def array_pixels(array: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, 1) grey, (H, W, 3) RGB, (H, W, 4) RGBA; uint8, or floats in 0..1. UsageError for anything else."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS) or not array.size:
        raise UsageError(f"an array has the shape (H, W), (H, W, 3) or (H, W, 4), not {array.shape}")
    pixels = np.ascontiguousarray(_eight_bits(array))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    return pixels if pixels.ndim == 3 and pixels.shape[2] == 3 else pil_pixels(Image.fromarray(pixels))


def tensor_pixels(tensor: "torch.Tensor") -> NDArray[np.uint8]:
    """(C, H, W) with 1, 3 or 4 channels, or (H, W); uint8, or floats in 0..1, on any device. UsageError for anything else."""
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in _CHANNELS):
        raise UsageError(f"a tensor has the shape (3, H, W), (1, H, W), (4, H, W) or (H, W), not {tuple(tensor.shape)}")
    import torch

    host = tensor.detach().cpu()
    values = (host.float() if host.dtype in (torch.bfloat16, torch.float16) else host).numpy()
    return array_pixels(values if values.ndim == 2 else values.transpose(1, 2, 0))


def pil_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Any mode that the decoder converts, upright by its EXIF. UsageError for the others, and for a file that cannot be read."""
    try:
        image.load()
        return upright_rgb(image)
    except (ImageError, OSError, SyntaxError, ValueError) as error:
        raise UsageError(f"the PIL image cannot be converted to RGB: {' '.join(str(error).split())[:200]}") from error


def is_tensor(value: object) -> "TypeGuard[torch.Tensor]":
    """Whether it is a tensor of torch, without loading torch: where there is a tensor, torch is loaded."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _eight_bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"pixels are uint8, or floats in 0..1, not {array.dtype}")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):  # also where one is not a number
        raise UsageError(f"pixels that are floats are in 0..1, not in {low:g}..{high:g}")
    return np.rint(array.astype(np.float64) * 255).astype(np.uint8)
