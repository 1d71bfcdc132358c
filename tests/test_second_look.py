"""The second look: what is cut out, and what becomes of a score that is not confirmed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fer_core.detect.detection_net import Places
from fer_core.detect.second_look import FACE, SIDE, _cut, looked_again

LOGIT = {0.5: 0.0, 0.8: math.log(4), 0.05: math.log(0.05 / 0.95)}


class Confirming(nn.Module):
    """Sees one face in the middle of every cut-out, of the size that faces are brought to, with one score."""

    def __init__(self, score: float, shift: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.score, self.shift, self.seen = score, shift, []

    def forward(self, pictures: Tensor) -> Places:
        count = len(pictures)
        self.seen.append(pictures)
        low, high = (SIDE - FACE) / 2 + self.shift, (SIDE + FACE) / 2 + self.shift
        boxes = torch.tensor([low, low, high, high]).expand(count, 1, 4)
        points = torch.full((count, 1, 5, 2), SIDE / 2 + self.shift)
        return Places(torch.full((count, 1), LOGIT[self.score]), boxes, points, torch.zeros(1, 2), ((1, 1),))


def row(x, y, side, score=0.8):
    """(15,) a square face, its points in its middle."""
    return np.array([x, y, x + side, y + side, *[x + side / 2, y + side / 2] * 5, score], np.float32)


def picture(height=200, width=300):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_no_face_no_look():
    network = Confirming(0.8)
    assert looked_again(network, picture(), np.zeros((0, 15), np.float32)).shape == (0, 15)
    assert network.seen == []


def test_what_is_seen_again_keeps_its_place_and_the_geometric_mean_of_the_scores():
    first = np.stack([row(40, 50, 60, 0.5), row(150, 20, 20, 0.8)])
    again = looked_again(Confirming(0.8), picture(), first)
    assert np.allclose(again[:, :14], first[:, :14], atol=0.01)
    assert again[:, 14] == pytest.approx([math.sqrt(0.5 * 0.8), 0.8], abs=1e-3)


def test_box_and_points_are_the_mean_of_both_looks():
    """Eight pixels of the cut-out are eight 64ths of the face."""
    first = row(40, 50, 64)[None]
    again = looked_again(Confirming(0.8, shift=8.0), picture(), first)
    assert np.allclose(again[0, :14] - first[0, :14], 4.0, atol=0.01)


def test_what_is_not_seen_again_falls():
    faint = looked_again(Confirming(0.05), picture(), row(40, 50, 60)[None])
    assert np.allclose(faint[0, :14], row(40, 50, 60)[:14], atol=0.01)  # too faint to be believed of where it is
    assert faint[0, 14] == pytest.approx(math.sqrt(0.8 * 0.05), abs=1e-3)
    elsewhere = looked_again(Confirming(0.8, shift=50.0), picture(), row(40, 50, 60)[None])
    assert elsewhere[0, 14] == 0
    assert np.allclose(elsewhere[0, :14], row(40, 50, 60)[:14])


def test_many_faces_come_back_in_their_order():
    rows = np.stack([row(3 * number, 2 * number, 15 + number) for number in range(70)])
    network = Confirming(0.8)
    again = looked_again(network, picture(), rows)
    assert [len(batch) for batch in network.seen] == [64, 6]
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
