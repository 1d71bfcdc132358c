"""Pictures with boxes of what was labelled, as a notebook shows them and as a terminal prints them."""

import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage import data

import fer_core
from fer_core.errors import UsageError
from tests.support import fakes

ASTRONAUT = data.astronaut()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    file = tmp_path_factory.mktemp("shown") / "a <b>\x1b.png"
    Image.fromarray(ASTRONAUT).save(file)
    return file


@pytest.fixture(scope="module")
def frames(photo):
    """Of a file, one that is none, pixels, and encoded bytes."""
    with fer_core.Labeler(detector="builtin", device="cpu") as labeler:
        text = photo.parent / "text.jpg"
        text.write_text("no picture")
        return labeler.label([photo, text]), labeler.label([np.zeros((50, 60, 3), np.uint8), ASTRONAUT, photo.read_bytes()])


def test_files_are_read_again(frames):
    shown = fer_core.show(frames[0])
    assert len(shown) == 2
    picture = np.asarray(shown[0])
    assert picture.shape == (800, 800, 3)
    row = frames[0].loc[0]
    x, y, w = (round(float(row[name]) * 800 / 512) for name in ("box_x", "box_y", "box_w"))
    edge, plain = picture[y - 6 : y + 6, x + w // 4 : x + w // 2], np.asarray(Image.fromarray(ASTRONAUT).resize((800, 800)))
    assert np.abs(edge - plain[y - 6 : y + 6, x + w // 4 : x + w // 2].astype(int)).max() > 60, "a line of the box"
    first, second = repr(shown).splitlines()
    assert re.fullmatch(r"a <b>\\x1b\.png: 512 x 512 · 1 face, \w+ >?\d+ %", first)
    assert second.startswith("text.jpg: text, not an image")


def test_a_notebook_gets_html_without_scripts_and_without_names_as_markup(frames):
    html = fer_core.show(frames[0])._repr_html_()
    assert html.count("<img") == 1
    assert "data:image/jpeg;base64," in html
    assert "a &lt;b&gt;" in html
    assert "<b>" not in html
    assert "<script" not in html


def test_pixels_and_bytes_are_given_again(frames, photo):
    images = [np.zeros((50, 60, 3), np.uint8), ASTRONAUT, photo.read_bytes()]
    shown = fer_core.show(frames[1], iter(images))
    assert [picture.size for picture in shown] == [(120, 100), (800, 800), (800, 800)]
    assert np.array_equal(shown[1], shown[2])
    assert repr(shown).splitlines()[0] == "image 0: 60 x 50 · 0 faces"
    assert len(fer_core.show(frames[1].loc[[1]], images)) == 1
    with pytest.raises(UsageError, match=r"give their images, too, as show\(faces, images\)"):
        fer_core.show(frames[1])
    with pytest.raises(UsageError, match="there is no image 2"):
        fer_core.show(frames[1], images[:2])
    with pytest.raises(UsageError, match="with its index"):
        fer_core.show(frames[1].reset_index(drop=True), images)


def test_no_boxes_stand_on_another_picture(frames, photo, tmp_path):
    shown = fer_core.show(frames[1].loc[[1]], [ASTRONAUT, ASTRONAUT[::-1].copy()])
    assert repr(shown) == "image 1: another image was labelled"
    assert shown[0].size == (1, 1)
    moved = frames[0].loc[[0]].assign(image_uri=str(photo.parent / "text.jpg"))
    assert repr(fer_core.show(moved)) == "text.jpg: the file has changed since it was labelled"
    gone = frames[0].loc[[0]].assign(image_uri=str(tmp_path / "gone.jpg"))
    assert repr(fer_core.show(gone)) == "gone.jpg: the file is not there"


def test_rows_of_a_root_and_a_limit(tmp_path):
    fakes.label(fakes.config(tmp_path / "labels"), fakes.refs(fakes.write_pictures(tmp_path / "photos", [1, 2, 3])))
    whole = repr(fer_core.show(fer_core.read_labels(str(tmp_path / "labels")))).splitlines()
    assert [line.partition(" · ")[2][:7] for line in whole] == ["1 face,", "2 faces", "3 faces"]
    shown = fer_core.show(fer_core.read_labels(str(tmp_path / "labels")), limit=2)
    assert len(shown) == 2
    assert [len(photo.faces) for photo in shown.photos] == [1, 2]
    assert repr(shown).endswith("\nand 1 more image")
    assert shown._repr_html_().endswith("<p>and 1 more image</p>")


def test_many_faces_are_counted(frames, photo):
    many = pd.concat([frames[0].loc[[0]]] * 5)
    assert re.fullmatch(r".*: 512 x 512 · 5 faces, 5 \w+", repr(fer_core.show(many)))


def test_columns_that_are_needed(frames):
    with pytest.raises(UsageError, match="need the columns expression, confidence, p_neutral"):
        fer_core.show(frames[0].drop(columns=[name for name in frames[0] if name.startswith(("p_", "expression", "confidence"))]))
