"""What may be given as an image, and what is refused in one line."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from fer_core.api.image_input import count_of, each_image
from fer_core.errors import UsageError

RGB = data.astronaut()[:60, :80]
GREY = RGB[..., 0]


def pixels(image) -> np.ndarray:
    [one] = each_image(image)
    assert one.pixels is not None
    assert one.uri is one.data is None
    return one.pixels


@pytest.mark.parametrize(
    "image",
    [
        RGB,
        RGB[:, ::-1][:, ::-1],
        RGB.astype(np.float32) / 255,
        RGB.astype(np.float64) / 255,
        np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]),
        Image.fromarray(RGB),
        Image.fromarray(RGB).convert("RGBA"),
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        torch.from_numpy(RGB).permute(2, 0, 1).double() / 255,
    ],
)
def test_all_kinds_of_colour_pixels_are_the_same_pixels(image):
    assert np.array_equal(pixels(image), RGB)


@pytest.mark.parametrize("image", [GREY, GREY[..., None], Image.fromarray(GREY), torch.from_numpy(GREY), torch.from_numpy(GREY)[None]])
def test_grey_pixels_become_three_equal_channels(image):
    assert np.array_equal(pixels(image), np.dstack([GREY] * 3))


def test_transparency_is_over_white_as_in_files():
    clear = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
    assert (pixels(clear) == 255).all()
    assert (pixels(torch.from_numpy(clear).permute(2, 0, 1)) == 255).all()


def test_a_turned_pil_image_is_made_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        assert np.array_equal(pixels(image), np.rot90(RGB, -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "HSV", "I;16"])
def test_pil_images_of_every_mode_that_files_have(mode):
    assert pixels(Image.fromarray(RGB).convert("L" if mode == "I;16" else mode).convert(mode)).shape == RGB.shape


def test_paths_addresses_and_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    given = ["a.jpg", Path("/photos/./b.jpg"), "~/c.jpg", "s3://bucket/d%20e.jpg", b"\xff\xd8", memoryview(b"12")]
    found = list(each_image(given))
    assert [one.uri for one in found] == [str(tmp_path / "a.jpg"), "/photos/b.jpg", "/home/me/c.jpg", "s3://bucket/d%20e.jpg", None, None]
    assert [one.data for one in found[4:]] == [b"\xff\xd8", b"12"]
    assert [one.uri for one in each_image(os.fsdecode(b"/photos/caf\xe9.jpg"))] == ["file:///photos/caf%E9.jpg"]
    assert [one.uri for one in each_image("s3://key:secret@bucket/a.jpg")] == ["s3://***:***@bucket/a.jpg"]


def test_one_image_or_several():
    assert [count_of(images) for images in (RGB, "a", b"a", [RGB, "a"], np.stack([RGB, RGB]), [])] == [1, 1, 1, 2, 2, 0]
    assert count_of(RGB for _ in range(3)) is None
    assert len(list(each_image(RGB for _ in range(3)))) == 3
    assert len(list(each_image(torch.zeros(4, 3, 8, 8)))) == 4


@pytest.mark.parametrize(
    ("image", "told"),
    [
        (RGB.astype(np.float32), r"in 0\.\.1, not in 0\.\.2"),
        (np.full((4, 4), np.nan), r"in 0\.\.1, not in nan"),
        (RGB.astype(np.float32) / 255 - 0.5, r"in 0\.\.1"),
        (RGB.astype(np.int64), r"floats in 0\.\.1, not int64"),
        (RGB > 3, "not bool"),
        (RGB.transpose(2, 0, 1), r"\(H, W, 3\) or \(H, W, 4\), not \(3, 60, 80\)"),
        (np.zeros(5, np.uint8), "shape"),
        (np.zeros((0, 5, 3), np.uint8), "shape"),
        (torch.zeros(5, 5, 3), r"\(3, H, W\)"),
        (torch.zeros(3, 0, 5), "shape"),
        (Image.new("F", (8, 8)), "PIL image cannot be converted"),
        (3, "not int"),
        ("", "empty"),
        ("a\0b", "null"),
    ],
)
def test_what_is_no_image_gives_one_clear_line(image, told):
    with pytest.raises(UsageError, match=told) as caught:
        list(each_image([RGB, image]))
    assert str(caught.value).startswith("image 1: ")
    assert "\n" not in str(caught.value)


def test_none_is_no_image():
    with pytest.raises(UsageError, match=r"image 0: .*not NoneType"):
        list(each_image(None))
