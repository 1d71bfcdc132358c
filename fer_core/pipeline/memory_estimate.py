"""Upper bound of a worker's memory, computed before it starts.

    LOADED + BYTES_AHEAD + max_bytes + PIXEL_BYTES * max(PIXELS_AHEAD, max_pixels)

The last term is by far the largest. It is reached only with images as large as the run allows: an image with more than PIXELS_AHEAD pixels
is decoded while no other image is in memory. Measured by benchmarks/memory/worker_memory.py.
"""

from typing import Final

from fer_core.decode.decode_prefetch import PIXELS_AHEAD
from fer_core.decode.read_prefetch import BYTES_AHEAD

LOADED: Final = 384 * 2**20
"""Libraries, both networks, and their activations for a pyramid level of 4096 px."""
PIXEL_BYTES: Final = 13
"""Bytes per pixel of an image that is decoded: 4 in the decoder, 3 in the result, 3 in the conversion, 3 in the finest pyramid level."""


def worker_memory(max_bytes: int, max_pixels: int) -> int:
    """Bytes that a CPU worker needs at most, for any images. max_bytes, max_pixels: see `RunConfig`."""
    return LOADED + BYTES_AHEAD + max_bytes + PIXEL_BYTES * max(PIXELS_AHEAD, max_pixels)
