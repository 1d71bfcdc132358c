"""A hash of what a picture shows: few of its bits differ between copies that were resized, compressed again or slightly retouched.

The DCT hash that is known as pHash, bit for bit as `imagehash.phash` forms it of the same 32 x 32 grey values: of their type II cosine
transform the 8 x 8 lowest frequencies, row by row, a bit each for whether it is above their median. That library would bring PyWavelets
along, which serves its other hashes. The picture is shrunk by the mean of each cell, upright and from the size at which it was decoded
anyway. Of large pictures every n-th pixel of every n-th row is taken: means of all would take ten times as long, and the hash differs by a
bit or two.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

SIDE: Final = 32
KEPT: Final = 8
SHORTEST: Final = 96
"""Side below which no pixel is left out: a cell then has 9 at least."""
_COSINES: Final = np.cos(np.pi * np.arange(KEPT)[:, None] * (2 * np.arange(SIDE) + 1) / (2 * SIDE))


def perceptual_hash(pixels: NDArray[np.uint8]) -> str:
    """(H, W, 3) RGB uint8 -> 16 hexadecimal digits. Two pictures look alike where few of their 64 bits differ."""
    import cv2

    height, width = pixels.shape[:2]
    step = max(1, min(height, width) // SHORTEST)
    few = cv2.resize(pixels, (width // step, height // step), interpolation=cv2.INTER_NEAREST) if step > 1 else pixels
    grey = cv2.cvtColor(cv2.resize(few, (SIDE, SIDE), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    low = (_COSINES @ grey.astype(np.float64) @ _COSINES.T).ravel()
    middle = np.sort(low)[len(low) // 2 - 1 : len(low) // 2 + 1].sum() / 2  # np.median takes longer than all else
    return np.packbits(low > middle).tobytes().hex()
