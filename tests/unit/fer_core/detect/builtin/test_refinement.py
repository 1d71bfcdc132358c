"""The second look: what is cut out, and what becomes of a score that is not confirmed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.detect.builtin.network import STRIDES
from fer_core.detect.builtin.refinement import BATCH, FACE, SEEN, SIDE, _cut, refine_detections

LOGIT = {0.5: 0.0, 0.8: math.log(4), 0.05: math.log(0.05 / 0.95)}


class Confirming:
    """Eyes that see one face in the middle of every cut-out, of the size that faces are brought to, with one score."""

    def __init__(self, score, shift=0.0):
        self.score, self.shift, self.seen = score, shift, []

    def __call__(self, pictures):
        self.seen.append(pictures)
        levels = [np.full((len(pictures), 15, SIDE // stride, SIDE // stride), -30, np.float32) for stride in STRIDES]
        stride = STRIDES[-1]
        place = SIDE // stride // 2  # its centre lies half a stride beyond the middle
        off = (self.shift - stride / 2) / stride
        levels[-1][:, :, place, place] = [LOGIT[self.score], off, off, *[math.log(FACE / stride)] * 2, *[off] * 10]
        return levels


def row(x, y, side, score=0.8):
    """(15,) a square face, its points in its middle."""
    return np.array([x, y, x + side, y + side, *[x + side / 2, y + side / 2] * 5, score], np.float32)


def picture(height=200, width=300):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_no_face_no_look():
    network = Confirming(0.8)
    assert refine_detections(network, picture(), np.zeros((0, 15), np.float32), 0.01).shape == (0, 15)
    assert network.seen == []


def test_what_is_seen_again_keeps_its_place_and_the_geometric_mean_of_the_scores():
    first = np.stack([row(40, 50, 60, 0.5), row(150, 20, 20, 0.8)])
    again = refine_detections(Confirming(0.8), picture(), first, 0.01)
    assert np.allclose(again[:, :14], first[:, :14], atol=0.01)
    assert again[:, 14] == pytest.approx([math.sqrt(0.5 * 0.8), 0.8], abs=1e-3)


def test_box_and_points_are_the_mean_of_both_looks():
    """Eight pixels of the cut-out are eight 64ths of the face."""
    first = row(40, 50, 64)[None]
    again = refine_detections(Confirming(0.8, shift=8.0), picture(), first, 0.01)
    assert np.allclose(again[0, :14] - first[0, :14], 4.0, atol=0.01)


def test_what_is_not_seen_again_falls():
    faint = refine_detections(Confirming(0.05), picture(), row(40, 50, 60)[None], 0.01)
    assert np.allclose(faint[0, :14], row(40, 50, 60)[:14], atol=0.01)  # too faint to be believed of where it is
    assert faint[0, 14] == pytest.approx(math.sqrt(0.8 * 0.05), abs=1e-3)
    elsewhere = refine_detections(Confirming(0.8, shift=50.0), picture(), row(40, 50, 60)[None], 0.01)
    assert elsewhere[0, 14] == 0
    assert np.allclose(elsewhere[0, :14], row(40, 50, 60)[:14])


def test_what_could_not_reach_the_threshold_is_not_read():
    """With 0.05 < SEEN it would not be believed of where it is, only count for the score."""
    assert SEEN > 0.05
    faint = refine_detections(Confirming(0.05), picture(), row(40, 50, 60)[None], 0.3)
    assert faint[0, 14] == 0


def test_many_faces_come_back_in_their_order():
    rows = np.stack([row(3 * number, 2 * number, 15 + number) for number in range(70)])
    network = Confirming(0.8)
    again = refine_detections(network, picture(), rows, 0.01)
    assert [len(batch) for batch in network.seen] == [BATCH] * (70 // BATCH) + [70 % BATCH]
    assert np.allclose(again[:, :14], rows[:, :14], atol=0.05)


@given(st.floats(-50, 350), st.floats(-50, 250), st.floats(1, 400), st.floats(1, 400))
@settings(max_examples=60, deadline=None)
def test_any_box_can_be_cut_out(x, y, width, height):
    """Also outside of the picture, larger than it, or a hair wide."""
    cut = _cut(picture(), np.array([x, y, x + width, y + height]))
    assert cut.pixels.shape == (SIDE, SIDE, 3)
    assert np.allclose(cut.centre, [x + width / 2, y + height / 2])
    assert cut.scale == pytest.approx(FACE / max(1.0, math.sqrt(width * height)))


@pytest.mark.parametrize("side", [16, 64, 160])
def test_the_face_is_in_the_middle_at_one_size(side):
    """A white square on black, as large as the box."""
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[120 : 120 + side, 90 : 90 + side] = 255
    cut = _cut(pixels, np.array([90.0, 120, 90 + side, 120 + side]))
    white = (cut.pixels[..., 0] > 127).nonzero()
    low, high = (SIDE - FACE) / 2, (SIDE + FACE) / 2
    for axis in white:
        assert abs(axis.min() - low) <= 1
        assert abs(axis.max() + 1 - high) <= 1


def test_beyond_the_picture_it_is_grey():
    cut = _cut(np.zeros((64, 64, 3), np.uint8), np.array([0.0, 0, 64, 64]))
    assert (cut.pixels[:20, :20] == 128).all()
    assert (cut.pixels[50:70, 50:70] == 0).all()
