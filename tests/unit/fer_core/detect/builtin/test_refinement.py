"""The confirming and the placing pass: what is cut out, and what becomes of a score that is not confirmed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.detect.builtin.network import STRIDES
from fer_core.detect.builtin.refinement import BATCH, CONFIRMING, PLACING, SEEN, _cut, refine_detections

LOGIT = {0.5: 0.0, 0.8: math.log(4), 0.05: math.log(0.05 / 0.95)}
LOWEST = 0.3


class Confirming:
    """Finds one face in the middle of every cut-out, of the size that faces are brought to, with one score, `shift` faces beside it."""

    def __init__(self, score, shift=0.0, placing_shift=None):
        self.score, self.seen = score, []
        self.shifts = {CONFIRMING.side: shift, PLACING.side: shift if placing_shift is None else placing_shift}

    def __call__(self, pictures):
        self.seen.append(pictures)
        side = len(pictures[0])
        size = next(size for size in (CONFIRMING, PLACING) if size.side == side)
        levels = [np.full((len(pictures), 15, side // stride, side // stride), -30, np.float32) for stride in STRIDES]
        stride = STRIDES[-1]
        place = side // stride // 2
        centre = (place + 0.5) * stride
        off = (side / 2 - centre + self.shifts[side] * size.face) / stride
        levels[-1][:, :, place, place] = [LOGIT[self.score], off, off, *[math.log(size.face / stride)] * 2, *[off] * 10]
        return levels


def row(x, y, side, score=0.8):
    """(15,) a square face, its points in its middle."""
    return np.array([x, y, x + side, y + side, *[x + side / 2, y + side / 2] * 5, score], np.float32)


def picture(height=200, width=300):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_no_face_no_pass():
    network = Confirming(0.8)
    assert refine_detections(network, picture(), np.zeros((0, 15), np.float32), LOWEST).shape == (0, 15)
    assert network.seen == []


def test_what_is_found_again_keeps_its_place_and_the_geometric_mean_of_two_scores():
    first = np.stack([row(40, 50, 60, 0.5), row(150, 20, 20, 0.8)])
    again = refine_detections(Confirming(0.8), picture(), first, LOWEST)
    assert np.allclose(again[:, :14], first[:, :14], atol=0.01)
    assert again[:, 14] == pytest.approx([math.sqrt(0.5 * 0.8), 0.8], abs=1e-3)


def test_box_and_points_are_the_mean_of_all_passes():
    """The confirming pass finds it 0.2 faces away; the placing one where that puts it."""
    first = row(40, 50, 60)[None]
    again = refine_detections(Confirming(0.8, shift=0.2, placing_shift=0.0), picture(), first, LOWEST)
    assert np.allclose(again[0, :14] - first[0, :14], 0.1 * 60, atol=0.01)
    again = refine_detections(Confirming(0.8, shift=0.0, placing_shift=0.15), picture(), first, LOWEST)
    assert np.allclose(again[0, :14] - first[0, :14], 0.05 * 60, atol=0.01)


def test_what_is_not_found_again_falls():
    assert SEEN > 0.05
    for network in (Confirming(0.05), Confirming(0.8, shift=0.8)):
        again = refine_detections(network, picture(), row(40, 50, 60)[None], LOWEST)
        assert again[0, 14] == 0
        assert np.allclose(again[0, :14], row(40, 50, 60)[:14])
        assert len(network.seen) == 1  # and is not placed


def test_only_what_is_sure_enough_is_placed():
    network = Confirming(0.5)
    again = refine_detections(network, picture(), np.stack([row(40, 50, 60, 0.1), row(150, 20, 20, 0.8)]), 0.5)
    assert again[:, 14] == pytest.approx([math.sqrt(0.05), math.sqrt(0.4)], abs=1e-3)
    assert [len(batch) for batch in network.seen] == [2, 1]


def test_many_faces_come_back_in_their_order():
    rows = np.stack([row(3 * number, 2 * number, 15 + number) for number in range(70)])
    network = Confirming(0.8)
    again = refine_detections(network, picture(), rows, LOWEST)
    assert [len(batch) for batch in network.seen] == 2 * ([BATCH] * (70 // BATCH) + [70 % BATCH])
    assert np.allclose(again[:, :14], rows[:, :14], atol=0.05)


@given(st.floats(-50, 350), st.floats(-50, 250), st.floats(1, 400), st.floats(1, 400), st.sampled_from([CONFIRMING, PLACING]))
@settings(max_examples=60, deadline=None)
def test_any_box_can_be_cut_out(x, y, width, height, size):
    """Also outside of the picture, larger than it, or a hair wide."""
    cut = _cut(picture(), np.array([x, y, x + width, y + height]), size)
    assert cut.pixels.shape == (size.side, size.side, 3)
    assert np.allclose(cut.centre, [x + width / 2, y + height / 2])
    assert cut.scale == pytest.approx(size.face / max(1.0, math.sqrt(width * height)))


@pytest.mark.parametrize("size", [CONFIRMING, PLACING])
@pytest.mark.parametrize("side", [16, 64, 160])
def test_the_face_is_in_the_middle_at_one_size(side, size):
    """A white square on black, as large as the box."""
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[120 : 120 + side, 90 : 90 + side] = 255
    cut = _cut(pixels, np.array([90.0, 120, 90 + side, 120 + side]), size)
    white = (cut.pixels[..., 0] > 127).nonzero()
    low, high = (size.side - size.face) / 2, (size.side + size.face) / 2
    for axis in white:
        assert abs(axis.min() - low) <= 1
        assert abs(axis.max() + 1 - high) <= 1


def test_beyond_the_picture_it_is_grey():
    cut = _cut(np.zeros((80, 80, 3), np.uint8), np.array([0.0, 0, 80, 80]), PLACING)
    assert (cut.pixels[:6, :6] == 128).all()
    assert (cut.pixels[40:60, 40:60] == 0).all()
