"""How unlike the faces of training a face is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fer_core.models.novelty import NoveltyScale, fit_novelty, largest_cosines

NONE = np.zeros(8)


def logits(cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of a network whose other classes are far away."""
    return np.column_stack([cosines, np.full((len(cosines), 7), -1.0)])


@given(st.integers(0, 2**31))
def test_novelty_of_held_back_faces_is_their_rank(seed: int) -> None:
    cosines = np.random.default_rng(seed).uniform(-1, 1, 400)
    novelty = fit_novelty(logits(cosines), logits(cosines[:0]), np.zeros(0, np.bool_), 1.0, NONE).novelty(logits(cosines))
    rank = (cosines[None] > cosines[:, None]).mean(axis=1)
    assert np.abs(novelty - rank).max() < 0.02
    assert novelty.min() >= 0
    assert novelty.max() <= 1


def test_what_lies_outside() -> None:
    scale = NoveltyScale(1.0, (0.0,) * 8, (0.2, 0.5, 0.9), 1.0)
    assert scale.novelty(logits(np.array([-1.0, 0.2, 0.5, 0.9, 1.0]))).tolist() == [1, 1, 0.5, 0, 0]


def test_the_limit_lies_where_labels_become_wrong() -> None:
    held_back, shifted = logits(np.linspace(0, 1, 1000)), logits(np.linspace(0, 1, 2000))
    novelty = 1 - np.linspace(0, 1, 2000)
    assert fit_novelty(held_back, shifted, novelty > 0.7, 1.0, NONE).limit == pytest.approx(0.65, abs=0.03)
    assert fit_novelty(held_back, shifted, np.zeros(2000, np.bool_), 1.0, NONE).limit == 1.0


def test_the_largest_cosine_without_the_class_bias() -> None:
    cosines = np.array([[0.5, -0.2], [0.1, 0.3]])
    bias = np.array([2.0, -3.0])
    assert largest_cosines(8 * cosines + bias, 8.0, bias) == pytest.approx([0.5, 0.3])
