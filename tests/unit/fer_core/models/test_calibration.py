import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.models.calibration import BINS, expected_calibration_error, fit_temperature, log_loss, reliability_bins, softmax


def drawn(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn from exactly their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 8))
    classes = np.array([rng.choice(8, p=row) for row in softmax(logits)])
    return logits, classes


def naive_ece(probabilities: np.ndarray, classes: np.ndarray) -> float:
    total = 0.0
    for index in range(BINS):
        members = []
        for row, truth in zip(probabilities, classes, strict=True):
            top = max(row)
            inside = int(top * BINS) == index or (index == BINS - 1 and top >= 1)
            if inside:
                members.append((top, float(list(row).index(top) == truth)))
        if members:
            gap = abs(sum(m[1] for m in members) / len(members) - sum(m[0] for m in members) / len(members))
            total += gap * len(members) / len(classes)
    return total


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 30), st.integers(0, 999))
def test_ece_against_a_loop(count: int, seed: int) -> None:
    logits, classes = drawn(count, seed)
    probabilities = softmax(3 * logits)
    assert expected_calibration_error(probabilities, classes) == pytest.approx(naive_ece(probabilities, classes), abs=1e-12)


def test_ece_by_hand() -> None:
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert expected_calibration_error(sure, np.array([0, 0])) == 0
    assert expected_calibration_error(sure, np.array([1, 1])) == 1
    assert expected_calibration_error(sure, np.array([0, 1])) == 0.5
    assert expected_calibration_error(np.zeros((0, 2)), np.zeros(0, np.int64)) == 0


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(0, 999))
def test_reliability_bins_against_a_loop(count: int, seed: int) -> None:
    logits, classes = drawn(count, seed)
    probabilities = softmax(3 * logits)
    bins = reliability_bins(probabilities, classes)
    assert bins.faces.shape == bins.right.shape == bins.confidence_sum.shape == bins.accuracy.shape == bins.confidence.shape == (BINS,)
    for index in range(BINS):
        inside = [i for i, row in enumerate(probabilities) if min(int(max(row) * BINS), BINS - 1) == index]
        right = sum(list(probabilities[i]).index(max(probabilities[i])) == classes[i] for i in inside)
        assert (bins.faces[index], bins.right[index]) == (len(inside), right)
        if inside:
            assert bins.accuracy[index] == pytest.approx(right / len(inside))
            assert bins.confidence[index] == pytest.approx(sum(max(probabilities[i]) for i in inside) / len(inside))
        else:
            assert math.isnan(bins.accuracy[index])
            assert math.isnan(bins.confidence[index])
    assert bins.faces.sum() == count
    assert bins.ece == expected_calibration_error(probabilities, classes)


def test_reliability_bins_at_their_edges() -> None:
    sure = reliability_bins(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0]))
    assert sure.faces.tolist() == [0] * (BINS - 1) + [2]
    assert sure.right.tolist() == [0] * (BINS - 1) + [1]
    tie = reliability_bins(np.array([[0.5, 0.5]]), np.array([0]))
    assert tie.right.sum() == 1  # ties go to the first class
    assert tie.faces[7] == 1
    assert tie == reliability_bins(np.array([[0.5, 0.5]]), np.array([0]))
    assert tie != reliability_bins(np.array([[0.5, 0.5]]), np.array([1]))
    assert tie != sure


@settings(deadline=None, max_examples=40)
@given(arrays(np.float64, (3, 8), elements=st.floats(-1e4, 1e4)))
def test_softmax_rows(logits: np.ndarray) -> None:
    p = softmax(logits)
    assert np.isfinite(p).all()
    assert np.allclose(p.sum(1), 1, atol=1e-12)
    assert (p.max(1) == p[np.arange(3), logits.argmax(1)]).all()
    assert np.allclose(softmax(logits + 5), p, atol=1e-6)


def test_softmax_of_nothing() -> None:
    assert softmax(np.zeros((0, 8))).shape == (0, 8)


def test_log_loss_by_hand() -> None:
    assert log_loss(np.array([[math.log(3), 0.0]]), np.array([0])) == pytest.approx(-math.log(0.75))
    assert log_loss(np.array([[2000.0, 0.0]]), np.array([1])) == pytest.approx(2000)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_temperature_is_found_again(factor: float) -> None:
    logits, classes = drawn(4000)
    assert fit_temperature(factor * logits, classes) == pytest.approx(factor, rel=0.1)


def test_temperature_is_the_best_of_a_grid() -> None:
    logits, classes = drawn(300, seed=1)
    logits = 2.5 * logits
    best = log_loss(logits / fit_temperature(logits, classes), classes)
    assert all(best <= log_loss(logits / t, classes) + 1e-9 for t in np.geomspace(0.05, 20, 200))


def test_temperature_at_the_ends() -> None:
    assert fit_temperature(np.zeros((0, 8)), np.zeros(0, np.int64)) == 1
    right = np.array([[1.0, 0.0]])
    assert fit_temperature(right, np.array([0])) == pytest.approx(1 / 20, rel=1e-3)
    assert fit_temperature(right, np.array([1])) == pytest.approx(20, rel=1e-3)
