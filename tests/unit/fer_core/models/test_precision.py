"""From which confidence on labels are right as often as asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import UsageError
from fer_core.models.precision import CONFIDENCES, NEVER, PrecisionCurve, checked_precision, fit_precision


def drawn(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are calibrated: the true class is drawn from them."""
    random = np.random.default_rng(seed)
    probabilities = random.dirichlet(np.full(8, 0.1), count)
    return probabilities, (probabilities.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)


@given(st.integers(0, 2**31), st.floats(0.5, 0.99))
def test_a_limit_is_the_least_confidence_that_is_enough(seed: int, precision: float) -> None:
    curve = fit_precision(*drawn(seed, 300))
    for limit, row in zip(curve.limits(precision), curve.precision, strict=True):
        enough = [confidence for confidence, value in zip(CONFIDENCES, row, strict=True) if value >= precision]
        assert limit == (min(enough) if enough else NEVER)


def test_labels_above_the_limits_of_other_faces_are_right_that_often() -> None:
    limits = fit_precision(*drawn(0, 4000)).limits(0.9)
    probabilities, classes = drawn(1, 20_000)
    said = probabilities.argmax(axis=1)
    kept = probabilities.max(axis=1) >= limits[said]
    assert 0.2 < kept.mean() < 0.9
    assert (said == classes)[kept].mean() > 0.89


def test_coverage_falls_and_few_faces_prove_little() -> None:
    curve = fit_precision(*drawn(2, 500))
    assert (np.diff(np.array(curve.coverage), axis=1) <= 0).all()
    two = fit_precision(np.eye(8)[[0, 0]], np.zeros(2, np.int64))
    assert two.precision[0][0] == pytest.approx(2.5 / 3, abs=1e-4)
    assert (two.limits(0.9) == NEVER).all()
    assert PrecisionCurve.from_json({"precision": [list(row) for row in curve.precision], "coverage": curve.coverage}) == curve


@pytest.mark.parametrize("value", [0.49, 1.0, 1.5, -1, float("nan"), float("inf")])
def test_what_is_no_precision(value: float) -> None:
    with pytest.raises(UsageError, match=r"at least 0\.5 and less than 1"):
        checked_precision(value)


def test_a_damaged_curve() -> None:
    with pytest.raises(ValueError, match="precision curve"):
        PrecisionCurve(((0.5,),) * 8, ((0.5,),) * 8)
