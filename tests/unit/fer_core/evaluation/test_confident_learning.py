"""Confident learning on tables small enough to do by hand, and what holds for any table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.evaluation.confident_learning import (
    NOWHERE,
    candidates,
    confident_joint,
    error_share_interval,
    margin,
    self_confidence,
)

PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.2, 0.8], [0.45, 0.55]])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_by_hand() -> None:
    found = confident_joint(PROBABILITIES, LABELS)
    # t_0 = (0.9 + 0.8 + 0.1) / 3, t_1 = (0.7 + 0.8 + 0.55) / 3
    assert found.thresholds == pytest.approx([0.6, 2.05 / 3])
    assert found.likely.tolist() == [0, 0, 1, 1, 1, NOWHERE]
    assert found.counts.tolist() == [[2, 1], [0, 2]]
    # rows scaled to three faces each, then to a sum of 1
    assert found.joint == pytest.approx(np.array([[2, 1], [0, 3]]) / 6)
    assert found.error_share == pytest.approx(1 / 6)
    assert found.error_shares == pytest.approx([1 / 3, 0])
    assert candidates(found, PROBABILITIES, LABELS).tolist() == [2]
    assert self_confidence(PROBABILITIES, LABELS) == pytest.approx([0.9, 0.8, 0.1, 0.7, 0.8, 0.55])
    assert margin(PROBABILITIES, LABELS) == pytest.approx([0.8, 0.6, -0.8, 0.4, 0.6, 0.1])


def test_a_face_above_two_thresholds_is_counted_where_it_is_most_probable() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.55, 0.35, 0.1]])
    found = confident_joint(probabilities, np.array([0, 1, 1]))
    assert found.thresholds.tolist() == [0.5, pytest.approx(0.325), np.inf]
    assert found.likely.tolist() == [0, NOWHERE, 0]
    assert found.counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert found.joint == pytest.approx(np.array([[1, 0, 0], [2, 0, 0], [0, 0, 0]]) / 3)


def test_candidates_come_by_rising_probability_of_their_label() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.05, 0.95], [0.2, 0.8], [0.2, 0.8], [0.1, 0.9], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 0, 1, 1, 0, 1])
    found = confident_joint(probabilities, labels)
    assert candidates(found, probabilities, labels).tolist() == [3, 6]


@pytest.mark.parametrize("probabilities", [np.zeros((0, 2)), np.zeros(2), np.full((3, 2), 0.5)])
def test_no_faces_or_other_shapes_are_refused(probabilities: np.ndarray) -> None:
    with pytest.raises(ValueError, match="takes"):
        confident_joint(probabilities, np.zeros(min(len(probabilities), 2), np.int64))


@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_of_any_table(number: int, classes: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    probabilities, labels = random.dirichlet(np.full(classes, 0.5), number), random.integers(classes, size=number)
    found = confident_joint(probabilities, labels)
    assert found.joint.sum() == pytest.approx(1)
    assert found.joint.sum(axis=1) == pytest.approx(np.bincount(labels, minlength=classes) / number)
    assert 0 <= found.error_share <= 1
    assert (found.likely == NOWHERE).sum() + found.counts.sum() == number
    listed = candidates(found, probabilities, labels)
    assert len(listed) == found.counts.sum() - np.trace(found.counts)
    assert np.all(np.diff(self_confidence(probabilities, labels)[listed]) >= 0)
    order = random.permutation(number)
    again = confident_joint(probabilities[order], labels[order])
    assert again.counts.tolist() == found.counts.tolist()


@given(st.integers(1, 30), st.integers(2, 4), st.floats(0.01, 1))
def test_equal_probabilities_are_no_evidence_against_a_label(number: int, classes: int, share: float) -> None:
    probabilities = np.full((number, classes), share / classes)
    found = confident_joint(probabilities, np.zeros(number, np.int64))
    assert found.error_share == 0
    assert not len(candidates(found, probabilities, np.zeros(number, np.int64)))


def test_the_interval_holds_the_share_and_narrows_with_more_faces() -> None:
    few, many = ((np.tile(PROBABILITIES, (times, 1)), np.tile(LABELS, times)) for times in (5, 50))
    (low, high), (lower, upper) = error_share_interval(*few), error_share_interval(*many)
    assert low <= 1 / 6 <= high
    assert lower <= 1 / 6 <= upper
    assert upper - lower < high - low
    assert error_share_interval(*few) == (low, high)
