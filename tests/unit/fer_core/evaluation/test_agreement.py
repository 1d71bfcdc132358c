"""Kappa and alpha of published examples, and what holds for any ratings."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fer_core.evaluation.agreement import MISSING, alpha_agreement, cohen_kappa, coincidences_of, kappa_agreement, krippendorff_alpha

X = MISSING
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3],
        [X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X],
    ]
).T
"""Four observers of twelve units: Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C."""


def test_cohen_by_hand() -> None:
    # 35 of 50 agree; by chance 25 * 30 + 25 * 20 of 50 * 50, a half: (0.7 - 0.5) / (1 - 0.5)
    assert cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    first, second = np.repeat([0, 0, 1, 1], [20, 5, 10, 15]), np.repeat([0, 1, 0, 1], [20, 5, 10, 15])
    found = kappa_agreement(np.r_[first, 0, X], np.r_[second, X, 1], 2)
    assert (found.units, found.observed, found.value) == (50, pytest.approx(0.7), pytest.approx(0.4))
    assert found.low < 0.4 < found.high


def test_krippendorffs_example() -> None:
    found = alpha_agreement(OBSERVERS - (OBSERVERS != X), 5)
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.units == 11
    assert found.low < found.value < found.high


def test_alpha_of_two_raters_by_hand() -> None:
    # units aa, aa, ab, bb: coincidences aa 4, ab 1, ba 1, bb 2; n = 8; 1 - 7 * 2 / (64 - 25 - 9)
    ratings = np.array([[0, 0], [0, 0], [0, 1], [1, 1]])
    assert coincidences_of(ratings, 2).sum(axis=0).tolist() == [[4, 1], [1, 2]]
    assert krippendorff_alpha(coincidences_of(ratings, 2).sum(axis=0)) == pytest.approx(1 - 14 / 30)


def test_one_answer_throughout_is_neither_agreement_nor_chance() -> None:
    same = np.zeros((5, 2), np.int64)
    assert math.isnan(alpha_agreement(same, 3).value)
    assert math.isnan(kappa_agreement(same[:, 0], same[:, 1], 3).value)
    alone = alpha_agreement(np.array([[0, X], [X, 1]]), 3)
    assert alone.units == 0
    assert math.isnan(alone.low)
    assert kappa_agreement(np.array([0, X]), np.array([X, 1]), 3).units == 0


ratings = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(-1, 3, (12, 3)))


@given(ratings, st.permutations(range(3)), st.permutations(range(3)))
def test_neither_names_nor_order_of_raters_matter(values: NDArray[np.int64], raters: list[int], names: list[int]) -> None:
    renamed = np.where(values == X, X, np.array(names)[values])[:, raters]
    summed, again = (coincidences_of(table, 3).sum(axis=0) for table in (values, renamed))
    assert summed.sum() == pytest.approx(sum(count for count in (values != X).sum(axis=1) if count > 1))
    assert np.allclose(summed, summed.T)
    assert krippendorff_alpha(again) == pytest.approx(krippendorff_alpha(summed), nan_ok=True)


@settings(max_examples=10)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=20))
def test_raters_who_are_of_one_mind_agree_wholly(values: list[int]) -> None:
    table = np.array([values, values]).T
    wanted = 1.0 if len(set(values)) > 1 else float("nan")
    assert alpha_agreement(table, 3).value == pytest.approx(wanted, nan_ok=True)
    assert kappa_agreement(table[:, 0], table[:, 1], 3).value == pytest.approx(wanted, nan_ok=True)
