import struct
import tracemalloc
import warnings
from functools import cache
from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.errors import ImageError
from fer_core.tables.schema import IMAGE_STATUSES
from tests.support.broken_images import UPRIGHT_TURNS, bomb_png, encoded, oriented, portrait, sixteen_bits

LIMITS = DecodeLimits()


@cache
def small():
    """(50, 48, 3) with four different corners, so that every turn shows."""
    pixels = cv2.resize(portrait(), (48, 50), interpolation=cv2.INTER_AREA)
    for corner, colour in zip(np.ndindex(2, 2), ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]), strict=True):
        pixels[corner[0] * 34 :, corner[1] * 32 :][:16, :16] = colour
    return pixels


def pixels_of(data, limits=LIMITS):
    return decode(data, limits).pixels


def failure(data, limits=LIMITS):
    with pytest.raises(ImageError) as caught:
        decode(data, limits)
    assert caught.value.status in IMAGE_STATUSES
    return caught.value.status, caught.value.reason


def difference(one, other):
    assert one.shape == other.shape
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(kind):
    picture = decode(encoded(small(), kind), LIMITS)
    np.testing.assert_array_equal(picture.pixels, small())
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.flags.c_contiguous
    assert (picture.width, picture.height) == (48, 50)


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("JPEG", {"progressive": True}), ("WEBP", {"quality": 90})]
)
def test_lossy_formats_come_back_closely(kind, options):
    assert difference(pixels_of(encoded(portrait(), kind, **options)), portrait()) < 4


def test_jpeg_is_the_same_as_with_opencv():
    data = encoded(portrait(), "JPEG")
    opencv = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(pixels_of(data), opencv)


@pytest.mark.parametrize("orientation", UPRIGHT_TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind, orientation):
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    assert difference(pixels_of(oriented(small(), orientation, kind, **options)), small()) < 6


def test_opencv_agrees_on_every_orientation():
    for orientation in UPRIGHT_TURNS:
        data = oriented(small(), orientation)
        np.testing.assert_array_equal(pixels_of(data), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_undefined_orientation_is_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert pixels_of(encoded(small(), "PNG", exif=exif)).shape == small().shape


def test_broken_exif_does_not_cost_the_picture():
    data = encoded(small(), "PNG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xffgarbage")
    np.testing.assert_array_equal(pixels_of(data), small())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF"])
def test_grey_becomes_three_equal_channels(kind):
    grey = np.asarray(Image.fromarray(small()).convert("L"))
    pixels = pixels_of(encoded(grey, kind))
    assert (pixels == pixels[:, :, :1]).all()
    assert difference(pixels[:, :, 0], grey) < 4


def test_one_bit():
    checks = np.indices((20, 30)).sum(axis=0) % 2 == 0
    for kind in ("PNG", "BMP", "TIFF"):
        np.testing.assert_array_equal(pixels_of(encoded(Image.fromarray(checks), kind))[:, :, 1] == 255, checks)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})])
def test_transparency_lies_on_white(kind, options):
    rgba = np.dstack([small(), np.full((50, 48), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    pixels = pixels_of(encoded(Image.fromarray(rgba), kind, **options))
    assert (pixels[:10] == 255).all()
    assert difference(pixels[10:20], (small()[10:20] * (128 / 255) + 255 * (127 / 255)).round()) < 1
    np.testing.assert_array_equal(pixels[20:], small()[20:])


def test_transparency_of_palettes_and_single_colours():
    palette = Image.fromarray(np.tile(np.array([0, 1, 2], np.uint8), (4, 1)), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    shades = pixels_of(encoded(palette, "PNG", transparency=bytes([255, 0, 255])))
    np.testing.assert_array_equal(shades[0], [[10, 20, 30], [255, 255, 255], [70, 80, 90]])
    one = pixels_of(encoded(palette, "PNG", transparency=2))
    np.testing.assert_array_equal(one[0], [[10, 20, 30], [40, 50, 60], [255, 255, 255]])
    colour = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    np.testing.assert_array_equal(pixels_of(encoded(colour, "PNG", transparency=(4, 5, 6)))[0], [[1, 2, 3], [255, 255, 255]])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_scaled_not_clipped(suffix):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    np.testing.assert_array_equal(pixels_of(sixteen_bits(ramp, suffix))[:, :, 0], ramp)
    colour = np.dstack([ramp, ramp[:, ::-1], ramp // 2])
    np.testing.assert_array_equal(pixels_of(sixteen_bits(colour, suffix)), colour)


def test_sixteen_bit_tiff_with_white_at_zero():
    ramp = np.tile(np.arange(256, dtype=np.uint16) * 257, (8, 1))
    data = encoded(Image.fromarray(ramp), "TIFF", tiffinfo={262: 0})
    np.testing.assert_array_equal(pixels_of(data)[0, :, 0], np.arange(256)[::-1])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind):
    image = Image.fromarray(portrait()).convert("CMYK")
    assert difference(pixels_of(encoded(image, kind, **({"quality": 95} if kind == "JPEG" else {}))), portrait()) < 4


@pytest.mark.parametrize(
    ("kind", "options"),
    [("WEBP", {"save_all": True, "lossless": True}), ("PNG", {"save_all": True}), ("TIFF", {"save_all": True})],
    ids=["animated webp", "animated png", "two pages"],
)
def test_first_frame_of_several(kind, options):
    first, second = Image.fromarray(small()), Image.fromarray(255 - small())
    np.testing.assert_array_equal(pixels_of(encoded(first, kind, append_images=[second], **options)), small())


def test_format_is_told_by_content():
    for data, words in [
        (b"", "empty file"),
        (b"hello, world", "text"),
        ("grüße".encode("utf-16"), "text"),
        ("grüße".encode("latin-1"), "text"),
        (b"BMW builds cars, and this is text", "text"),
        (b"<html><body/></html>", "web page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"II*\0\x10\0\0\0CR\x02\0", "raw"),
        (b"RIFF\0\0\0\0WAVE", "RIFF"),
        (bytes(100), "zero bytes"),
        (b"\x01\x02\x03\x80\x90", "unknown"),
    ]:
        status, reason = failure(data)
        assert status == ("unsupported" if data else "unreadable")
        assert words in reason


def test_camera_raw_in_tiff_is_not_its_thumbnail():
    assert failure(encoded(small(), "TIFF", tiffinfo={254: 1}))[0] == "unsupported"
    assert failure(encoded(small(), "TIFF", tiffinfo={50706: b"\x01\x04\x00\x00"}))[0] == "unsupported"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_without_fixed_brightness_are_unsupported(dtype, channels):
    values = np.ones((8, 8, channels), dtype) / 2 if dtype != np.int32 else np.ones((8, 8, channels), dtype)
    status, reason = failure(cv2.imencode(".tif", values)[1].tobytes())
    assert status == "unsupported"
    assert "kind" in reason


@pytest.mark.parametrize(
    ("kind", "share"), [("JPEG", 0.1), *((kind, share) for kind in ("PNG", "WEBP", "BMP", "TIFF") for share in (0.1, 0.5, 0.9))]
)
def test_truncated_is_unreadable(kind, share):
    data = encoded(portrait(), kind)
    status, reason = failure(data[: int(len(data) * share)])
    assert status == "unreadable"
    assert reason.startswith(("truncated", "damaged"))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "lzma"])
def test_damaged_tiff_says_nothing_on_stderr(compression, capfd):
    data = bytearray(encoded(portrait(), "TIFF", compression=compression))
    data[2000:2400] = b"\xff" * 400
    assert failure(bytes(data))[0] == "unreadable"
    assert capfd.readouterr() == ("", "")


def test_reasons_are_the_same_every_time():
    data = encoded(portrait(), "PNG")
    damaged = data[:2000] + bytes(3000) + data[5000:]
    assert failure(damaged) == failure(bytes(bytearray(damaged)))


def jpeg_of(width, height):
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    return b"\xff\xd8" + frame + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x00\x03\x00\x00\x3f\x00" + bytes(50) + b"\xff\xd9"


def webp_of(kind):
    body = {
        b"VP8X": b"\x00" * 4 + (16383 - 1).to_bytes(3, "little") * 2,
        b"VP8L": b"\x2f" + (16382 | 16382 << 14).to_bytes(4, "little") + bytes(20),
        b"VP8 ": b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(20),
    }[kind]
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def bmp_of(width, height):
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def tiff_of(width, height):
    tags = {
        256: (4, width),
        257: (4, height),
        258: (3, 8),
        259: (3, 1),
        262: (3, 1),
        273: (4, 8),
        277: (3, 1),
        278: (4, height),
        279: (4, 10),
    }
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, (kind, value) in tags.items())
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    "make",
    [bomb_png, lambda: jpeg_of(65000, 65000), lambda: bmp_of(30000, -30000), lambda: tiff_of(30000, 30000)]
    + [lambda kind=kind: webp_of(kind) for kind in (b"VP8X", b"VP8L", b"VP8 ")],
    ids=["png", "jpeg", "bmp", "tiff", "webp extended", "webp lossless", "webp lossy"],
)
def test_bombs_are_weighed_by_their_header(make):
    data = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracemalloc.start()
        status, reason = failure(data)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (status, "pixels" in reason) == ("too_large", True)
    assert peak < len(data) + 2**20


def test_bomb_takes_no_memory_of_the_process():
    import resource

    data = bomb_png()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert failure(data)[0] == "too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KB


def test_limits_are_inclusive():
    data = encoded(small(), "PNG")
    pixels = small().shape[0] * small().shape[1]
    assert pixels_of(data, DecodeLimits(len(data), pixels)).shape == small().shape
    assert failure(data, DecodeLimits(len(data) - 1, pixels))[0] == "too_large"
    assert failure(data, DecodeLimits(len(data), pixels - 1))[0] == "too_large"


def test_no_other_limit_than_ours():
    half = bomb_png(20_000)[:5000]
    assert failure(half, DecodeLimits(max_pixels=10**9)) == ("unreadable", "truncated PNG image")
    assert Image.MAX_IMAGE_PIXELS == 89_478_485  # others in this process keep theirs


def test_pillow_is_not_told_to_accept_truncated_files():
    from PIL import ImageFile

    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    with pytest.raises(OSError, match="truncated"):
        Image.open(BytesIO(encoded(portrait(), "JPEG")[:5000])).load()
