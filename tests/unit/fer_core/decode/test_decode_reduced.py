"""JPEG pictures decoded at a part of their size: never below what is needed, and what they would be if they were shrunk afterwards."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from fer_core.decode import colour
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.decode.min_face import REDUCTIONS, not_above
from fer_core.errors import ImageError

TURNED = {1: False, 3: False, 6: True, 8: True}
"""EXIF orientation -> whether width and height change places."""


def encoded(width: int, height: int, kind: str = "JPEG", mode: str = "RGB", orientation: int = 1) -> bytes:
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(data.astronaut()).resize((width, height)).convert(mode).save(stream, kind, exif=exif)
    return stream.getvalue()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 500), st.sampled_from(sorted(TURNED)))
def test_the_longest_side_stays_long_enough(width: int, height: int, side: int, orientation: int) -> None:
    told: list[int] = []
    picture = decode(encoded(width, height, orientation=orientation), DecodeLimits(), not_above(side), told.append)
    rows, columns = picture.pixels.shape[:2]
    expected = (width, height) if TURNED[orientation] else (height, width)
    assert (picture.height, picture.width) == expected
    assert told == [rows * columns]
    longest = max(width, height)
    factor = max((each for each in REDUCTIONS if longest >= each * side and min(width, height) >= each), default=1)
    assert (rows, columns) == (-(-expected[0] // factor), -(-expected[1] // factor))
    assert max(rows, columns) >= min(side, longest)
    assert picture.reduction == (expected[1] / columns, expected[0] / rows)


@pytest.mark.parametrize("factor", REDUCTIONS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_it_is_what_shrinking_the_full_picture_gives(factor: int, mode: str) -> None:
    content = encoded(800, 640, mode=mode)
    full, reduced = decode(content, DecodeLimits()), decode(content, DecodeLimits(), not_above(800 // factor))
    assert reduced.pixels.shape == (640 // factor, 800 // factor, 3)
    shrunk = cv2.resize(full.pixels, reduced.pixels.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - reduced.pixels).mean() < 2.5
    moved = np.abs(np.roll(shrunk, 1, 1).astype(int) - reduced.pixels).mean()
    assert moved > np.abs(shrunk.astype(int) - reduced.pixels).mean()  # not shifted by a pixel


@pytest.mark.parametrize("factor", [1, *REDUCTIONS])
@pytest.mark.parametrize("orientation", sorted(TURNED))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_luma_alone_is_that_of_the_colours(factor: int, orientation: int, mode: str) -> None:
    content = encoded(808, 643, mode=mode, orientation=orientation)
    colours, luma = decode(content, DecodeLimits(), lambda *_: factor), decode(content, DecodeLimits(), lambda *_: factor, luma=True)
    assert luma.pixels.shape == colours.pixels.shape[:2]
    assert luma.pixels.flags.c_contiguous
    assert (luma.width, luma.height, luma.reduction, luma.damage) == (colours.width, colours.height, colours.reduction, None)
    apart = np.abs(cv2.cvtColor(colours.pixels, cv2.COLOR_RGB2GRAY).astype(int) - luma.pixels)
    assert apart.mean() < (0.5 if mode == "RGB" else 1e-9)  # where red or blue would be beyond 0 or 255, the colours have another luma


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "CMYK"), ("PNG", "RGB"), ("WEBP", "RGB"), ("TIFF", "L")])
def test_other_pictures_have_their_colours_also_where_luma_was_asked_for(kind: str, mode: str) -> None:
    content = encoded(200, 150, kind, mode)
    assert np.array_equal(decode(content, DecodeLimits(), luma=True).pixels, decode(content, DecodeLimits()).pixels)


@pytest.mark.parametrize("share", [0.4, 0.8])
def test_damage_is_the_same_for_luma_alone(share: float) -> None:
    content = encoded(640, 480)
    broken = content[: int(share * len(content))]
    told = []
    for luma in (False, True):
        try:
            told.append(decode(broken, DecodeLimits(), luma=luma).damage)
        except ImageError as error:
            told.append(error.reason)
    assert told[0] == told[1]
    assert "truncated" in str(told[0])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("strip", [1, 800, 7 * 400, 2**18])
def test_strips_are_the_whole_picture(strip: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colour, "STRIP_PIXELS", strip)
    content = encoded(400, 301, kind)
    picture = decode(content, DecodeLimits())
    assert np.array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(content))))
    assert picture.pixels.flags.c_contiguous
    assert not picture.pixels.flags.writeable


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_decoded_in_full(kind: str) -> None:
    picture = decode(encoded(400, 300, kind), DecodeLimits(), not_above(50))
    assert picture.pixels.shape == (300, 400, 3)
    assert picture.reduction == (1, 1)
