import struct
import zlib
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.errors import ImageError
from tests.support.broken_images import encoded, portrait, sixteen_bits


def decodes_or_says_why(data):
    try:
        pixels = decode(data, DecodeLimits(2**20, 100_000)).pixels
    except ImageError as error:
        status, reason = error.status, error.reason
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.shape[0] * pixels.shape[1] <= 100_000
        return
    assert status in {"unreadable", "unsupported", "too_large"}
    assert reason
    assert "\n" not in reason
    assert "0x" not in reason


MAGICS = (
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\x20\0\0\0WEBPVP8 ",
    b"BM\0\0\0\0\0\0\0\0\0\0\0\0\x28\0\0\0",
    b"II*\0\x08\0\0\0",
    b"MM\0*",
)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(MAGICS), st.binary(max_size=200))
def test_arbitrary_bytes_never_raise_anything_else(magic, rest):
    decodes_or_says_why(magic + rest)


@cache
def seeds():
    image = Image.fromarray(cv2.resize(portrait(), (40, 36), interpolation=cv2.INTER_AREA))
    exif = Image.Exif()
    exif[0x0112] = 6
    seeds = [encoded(image, kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    seeds += [encoded(image, "BMP"), encoded(image, "TIFF", compression="tiff_lzw"), encoded(image, "TIFF", compression="jpeg")]
    seeds += [encoded(image.convert("CMYK"), "JPEG"), encoded(image.quantize(16), "PNG", transparency=3)]
    return (*seeds, encoded(image, "WEBP", save_all=True, append_images=[image.rotate(90)]), sixteen_bits(np.asarray(image), ".png"))


@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_mutated_files_never_raise_anything_else(data):
    mutated = bytearray(data.draw(st.sampled_from(seeds())))
    header = st.integers(0, min(200, len(mutated) - 1))
    anywhere = st.integers(0, len(mutated) - 1)
    for position, value in data.draw(st.lists(st.tuples(header | anywhere, st.integers(0, 255)), max_size=8)):
        mutated[position] = value
    decodes_or_says_why(bytes(mutated[: data.draw(st.just(len(mutated)) | anywhere)]))


def many_scans(count):
    """A progressive JPEG whose last scan stands there again and again."""
    data = encoded(np.zeros((64, 64), np.uint8), "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    return data[:-2] + data[start:-2] * count + data[-2:]


def test_a_picture_of_endless_scans_is_too_large():
    decode(many_scans(20), DecodeLimits())
    with pytest.raises(ImageError, match="more than 64 scans") as error:
        decode(many_scans(1000), DecodeLimits())
    assert error.value.status == "too_large"


def test_what_follows_a_jpeg_picture_is_not_counted():
    """Phones append films, and cameras further pictures."""
    for behind in (b"\xff\xda" * 1000, encoded(portrait(), "JPEG") * 80):
        assert decode(encoded(portrait(), "JPEG") + behind, DecodeLimits()).width == 384


def tiled_tiff(side):
    """10 x 10 pixels, kept in one grey tile of side x side."""
    tile = zlib.compress(bytes(side * side))
    tags = {256: 10, 257: 10, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 0, 325: len(tile)}
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags))
    tags[324] = len(head) + 12 * len(tags) + 4
    return head + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()) + bytes(4) + tile


def test_a_small_picture_in_a_huge_tile_is_too_large():
    assert decode(tiled_tiff(512), DecodeLimits(max_pixels=1_000_000)).width == 10
    with pytest.raises(ImageError, match="2,000 x 2,000 pixels, more than 1,000,000") as error:
        decode(tiled_tiff(2000), DecodeLimits(max_pixels=1_000_000))
    assert error.value.status == "too_large"
