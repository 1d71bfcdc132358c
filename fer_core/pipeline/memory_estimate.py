"""How much memory a worker needs, known before it starts.

    LOADED + BYTES_AHEAD + max_bytes + PIXEL_BYTES * max(PIXELS_AHEAD, max_pixels)

The last term is by far the largest and is needed only where the pictures are as large as the run allows: a picture of more pixels than may
be ahead together is decoded while no other is in memory. Measured by benchmarks/memory/worker_memory.py.
"""

from typing import Final

from fer_core.decode.decode_prefetch import PIXELS_AHEAD
from fer_core.decode.read_prefetch import BYTES_AHEAD

LOADED: Final = 384 * 2**20
"""Libraries, both networks, and what they need for a look of 4096 px."""
PIXEL_BYTES: Final = 13
"""Of a picture that is being decoded: four in the decoder, three handed on, three on the way between; three more for the finest look."""


def worker_memory(max_bytes: int, max_pixels: int) -> int:
    """Bytes that a worker on a CPU may need, whatever the pictures of a run are. max_bytes, max_pixels: see `RunConfig`."""
    return LOADED + BYTES_AHEAD + max_bytes + PIXEL_BYTES * max(PIXELS_AHEAD, max_pixels)
