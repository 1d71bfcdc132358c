"""The mark of an output says what it is and which images it shows, whatever their names."""

import io

import pytest
from PIL import Image

from fer_core.outputs.mark import by_digest, html_mark, png_mark, read_mark

IMAGES = [("a" * 64, "/photos/<b>\"&'é%.png"), (None, "/photos/gone\ud800.png")]
READ = [{"image_sha256": "a" * 64, "image_uri": IMAGES[0][1]}, {"image_sha256": None, "image_uri": "/photos/gone\\ud800.png"}]


def png():
    stream = io.BytesIO()
    Image.new("RGB", (3, 2), (1, 2, 3)).save(stream, "PNG")
    return stream.getvalue()


def test_a_page_and_a_picture_say_it():
    for data in (f"<head>{html_mark('gallery', IMAGES)}</head>".encode(), png_mark(png(), "gallery", IMAGES)):
        kind, images = read_mark(data)
        assert (kind, images.to_pylist()) == ("gallery", READ)


def test_what_is_not_named_is_known_by_its_digest():
    _, images = read_mark(png_mark(png(), "gallery", by_digest(IMAGES)))
    assert images.to_pylist() == [{**READ[0], "image_uri": None}, READ[1]]


def test_the_picture_is_the_same():
    marked = Image.open(io.BytesIO(png_mark(png(), "gallery", IMAGES)))
    assert list(marked.get_flattened_data() if hasattr(marked, "get_flattened_data") else marked.getdata()) == [(1, 2, 3)] * 6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        png(),
        png()[:20],
        b"<html></html>",
        b'<meta name="ferflow-output" content="{}">',
        b'<meta name="ferflow-output" content="[1]">',
        b'<meta name="ferflow-output" content="{&quot;kind&quot;:&quot;gallery&quot;,&quot;images&quot;:[[1]]}">',
        b'<meta name="ferflow-output" content="\xff">',
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 40,
    ],
)
def test_anything_else_has_none(data):
    assert read_mark(data) is None
