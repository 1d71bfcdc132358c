"""The hash that tells pictures that look alike."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fer_core.decode.perceptual_hash import perceptual_hash
from tests.support.broken_images import encoded


def distance(one, other):
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_its_bits_are_those_of_the_cosine_transform():
    """By SciPy, as `imagehash.phash` has it."""
    fft = pytest.importorskip("scipy.fftpack")
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32), np.uint8)
    low = fft.dct(fft.dct(pixels.astype(float), axis=0), axis=1)[:8, :8].ravel()
    expected = f"{int(''.join('01'[int(bit)] for bit in low > np.median(low)), 2):016x}"
    assert perceptual_hash(np.stack([pixels] * 3, axis=-1)) == expected


def test_what_looks_alike_differs_in_few_bits():
    astronaut = Image.fromarray(data.astronaut())
    names = {name: Image.fromarray(getattr(data, name)()).convert("RGB") for name in ("coffee", "chelsea", "rocket")}
    own = perceptual_hash(np.asarray(astronaut))
    assert len(own) == 16
    small = astronaut.resize((200, 200))
    marked = astronaut.copy()
    marked.paste((255, 255, 255), (0, 0, 50, 50))
    for alike in (small, marked, Image.open(BytesIO(encoded(astronaut, "JPEG", quality=30)))):
        assert distance(own, perceptual_hash(np.asarray(alike))) <= 6
    for other in names.values():
        assert distance(own, perceptual_hash(np.asarray(other))) >= 14


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (31, 97)])
def test_any_shape_and_any_ground_has_one(shape):
    for value in (0, 255):
        assert len(perceptual_hash(np.full((*shape, 3), value, np.uint8))) == 16
