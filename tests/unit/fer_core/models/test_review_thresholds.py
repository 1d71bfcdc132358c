import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.models.review_thresholds import LEAST_CONFIDENCE, MOST_ENTROPY, ReviewRule, fit_review_rule, normalised_entropy


def two_way(confidence: np.ndarray, rest: int = 7) -> np.ndarray:
    """(N, 8) rows whose first class has that confidence and whose next `rest` share what is left."""
    rows = np.zeros((len(confidence), 8))
    rows[:, 0] = confidence
    rows[:, 1 : 1 + rest] = ((1 - confidence) / rest)[:, None]
    return rows


def test_confidence_below_which_half_is_wrong() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.2, 1.0, 6000)
    right = rng.uniform(size=6000) < np.where(confidence < 0.6, 0.3, 0.95)
    rule = fit_review_rule(two_way(confidence), np.where(right, 0, 1))
    assert rule.confidence == pytest.approx(0.62, abs=0.04)


def test_entropy_finds_what_confidence_misses() -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(0.5, 0.7, 6000)
    spread = rng.uniform(size=6000) < 0.3
    rows = np.where(spread[:, None], two_way(confidence), two_way(confidence, 1))
    right = rng.uniform(size=6000) < np.where(spread, 0.2, 0.95)  # of one confidence, those spread over all classes are mostly wrong
    rule = fit_review_rule(rows, np.where(right, 0, 1))
    assert rule.confidence < 0.55
    review = rule.applies(rows.max(1), normalised_entropy(rows))
    assert review[spread].mean() > 0.8
    assert review[~spread].mean() < 0.2


def test_nothing_wrong_or_nothing_known_leaves_the_outer_limits() -> None:
    outer = ReviewRule(LEAST_CONFIDENCE, MOST_ENTROPY)
    confidence = np.linspace(0.2, 1, 4000)
    assert fit_review_rule(two_way(confidence), np.zeros(4000, np.int64)) == outer
    assert fit_review_rule(np.zeros((0, 8)), np.zeros(0, np.int64)) == outer


def test_rule_is_applied_strictly() -> None:
    rule = ReviewRule(0.5, 0.8)
    confidence, entropy = np.array([0.5, 0.49, 0.9, 0.9]), np.array([0.8, 0.1, 0.81, 0.1])
    assert rule.applies(confidence, entropy).tolist() == [False, True, True, False]


@pytest.mark.parametrize(("confidence", "entropy"), [(-0.1, 0.5), (1.1, 0.5), (0.5, 2)])
def test_limits_are_shares(confidence: float, entropy: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        ReviewRule(confidence, entropy)


def test_a_limit_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="entropy is a number, not nan"):
        ReviewRule(0.5, float("nan"))


@given(st.lists(st.floats(0.0001, 1), min_size=2, max_size=9))
def test_entropy_is_a_share(masses: list[float]) -> None:
    row = np.array([masses]) / sum(masses)
    assert 0 <= normalised_entropy(row)[0] <= 1
    assert normalised_entropy(np.full((1, len(masses)), 1 / len(masses)))[0] == pytest.approx(1)
    assert normalised_entropy(np.eye(len(masses)))[0] == 0
