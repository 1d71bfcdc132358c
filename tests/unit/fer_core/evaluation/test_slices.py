"""Figures of parts by hand, and how they add up."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.evaluation.corruption import corrupt
from fer_core.evaluation.slices import Slicing, by_edges, crop_slicings, quality_slicings, slice_figures
from tests.support.made_faces import faces, tinted


def test_by_hand() -> None:
    probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.9, 0.1]])
    truth = np.array([0, 1, 1, 0])
    left, right = slice_figures(probabilities, truth, [Slicing("side", ("left", "none", "right"), np.array([0, 0, 0, 2]))])
    assert (left.by, left.slice, left.faces, left.share) == ("side", "left", 3, 0.75)
    assert left.accuracy == pytest.approx(2 / 3)
    assert left.balanced_accuracy == pytest.approx((1 + 1 / 2) / 2)
    # confidences 0.8 right, 0.6 wrong, 0.7 right, each in a bin of its own
    assert left.ece == pytest.approx((0.2 + 0.6 + 0.3) / 3)
    assert left.intervals["accuracy"] == pytest.approx((0.2077, 0.9385), abs=1e-3)  # Wilson's of 2 in 3
    assert left.intervals["share"] == pytest.approx((0.3006, 0.9544), abs=1e-3)  # and of 3 in 4
    assert (right.slice, right.faces, right.accuracy) == ("right", 1, 1.0)


def test_edges() -> None:
    sliced = by_edges("face size", " px", np.array([10.0, 24.0, 47.9, 500.0, np.nan]), (24.0, 48.0))
    assert sliced.names == ("below 24 px", "24 to 48 px", "48 px and above", "unknown")
    assert sliced.number.tolist() == [0, 1, 1, 2, 3]
    assert quality_slicings(np.ones(2), np.ones(2), np.array([-70.0, 70.0]))[2].number.tolist() == [3, 3]


def test_of_crops() -> None:
    crops = faces(3)
    sharp, colour = crop_slicings(np.concatenate([tinted(crops), np.stack([crops] * 3, axis=-1)]))
    assert colour.number.tolist() == [1, 1, 1, 0, 0, 0]
    blurred, grey = crop_slicings(corrupt(crops, "blur", 5, 0))
    assert grey.number.tolist() == [0, 0, 0]
    assert (blurred.number < sharp.number[3:]).all()
    assert [len(sliced.number) for sliced in crop_slicings(crops[:0])] == [0, 0]


@settings(max_examples=5)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_parts_add_up_to_the_whole(number: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities, truth = random.dirichlet(np.ones(3), number), random.integers(3, size=number)
    parts = slice_figures(probabilities, truth, [Slicing("any", ("a", "b", "c"), random.integers(3, size=number))])
    assert sum(part.faces for part in parts) == number
    assert sum(part.share for part in parts) == pytest.approx(1)
    accuracy = float((probabilities.argmax(axis=1) == truth).mean())
    assert sum(part.share * part.accuracy for part in parts) == pytest.approx(accuracy)
    for part in parts:
        low, high = part.intervals["accuracy"]
        assert 0 <= low <= part.accuracy <= high <= 1
