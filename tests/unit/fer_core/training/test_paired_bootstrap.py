"""Two models on the same faces, by a paired bootstrap."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.evaluation.evaluate import score
from fer_core.labels import EXPRESSIONS
from fer_core.training.paired_bootstrap import compare_paired


def said(truth, right, seed):
    """Answers that are right so often."""
    draws = np.random.default_rng(seed)
    return np.where(draws.random(len(truth)) < right, truth, (truth + draws.integers(1, 8, len(truth))) % 8)


def faces(count, seed=0):
    return np.random.default_rng(seed).choice(8, count, p=[0.3, 0.3, 0.1, 0.1, 0.1, 0.05, 0.04, 0.01]).astype(np.int64)


def quantiles_of_the_mean(values, *probabilities):
    """Exact ones of values of -1, 0 and 1 that are drawn anew. For few faces they lie far apart, so no bound is near another."""
    once, sums = np.bincount(values + 1, minlength=3) / len(values), np.ones(1)
    for _ in values:
        sums = np.convolve(sums, once)
    return np.searchsorted(np.cumsum(sums), probabilities) / len(values) - 1


classes = arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 7))


@given(classes, st.integers(0, 2**32 - 1))
@settings(max_examples=12, deadline=None)
def test_a_model_does_not_differ_from_itself(truth, seed):
    answers = said(truth, 0.7, seed)
    found = compare_paired(truth, answers, answers)
    for one in (found.accuracy, found.macro_f1, *found.recall.values()):
        assert one.gain == one.lower == one.upper == 0


@given(classes, st.integers(0, 1000))
@example(np.zeros(4, np.int64), 1)
@settings(max_examples=12, deadline=None)
def test_the_other_way_round_the_bounds_change_places(truth, seed):
    one, two = said(truth, 0.5, seed), said(truth, 0.8, seed + 1)
    there, back = compare_paired(truth, one, two), compare_paired(truth, two, one)
    assert there.accuracy.gain == pytest.approx(-back.accuracy.gain)
    assert there.accuracy.lower <= there.accuracy.gain + 1e-9
    assert there.accuracy.gain <= there.accuracy.upper + 1e-9
    least, most = quantiles_of_the_mean((two == truth).astype(int) - (one == truth), 0.03, 0.07)
    for bound in (there.accuracy.lower, -back.accuracy.upper):  # other draws of the same distribution
        assert least - 1e-9 <= bound <= most + 1e-9


@given(classes, st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_the_figures_are_those_of_the_evaluation(truth, seed):
    one, two = said(truth, 0.5, seed), said(truth, 0.8, seed + 1)
    found = compare_paired(truth, one, two)
    for answers, model in ((one, "champion"), (two, "challenger")):
        expected = score(np.eye(8)[answers], truth, EXPRESSIONS)
        assert getattr(found.accuracy, model) == pytest.approx(expected.accuracy)
        assert getattr(found.macro_f1, model) == pytest.approx(expected.macro_f1)
        for name, one_class in found.recall.items():
            assert getattr(one_class, model) == pytest.approx(expected.per_class[name]["recall"])
            assert found.support[name] == expected.per_class[name]["support"]


def test_the_bound_is_that_of_drawing_faces_anew():
    truth = faces(900)
    one, two = said(truth, 0.8, 1), said(truth, 0.82, 2)
    found = compare_paired(truth, one, two, seed=3)
    draws = np.random.default_rng(4)
    apart = (two == truth).astype(float) - (one == truth)
    slow = [apart[draws.integers(0, 900, 900)].mean() for _ in range(3000)]
    assert found.accuracy.lower == pytest.approx(np.quantile(slow, 0.05), abs=0.002)
    assert found.accuracy.upper == pytest.approx(np.quantile(slow, 0.95), abs=0.002)


def test_the_bound_is_passed_as_often_as_it_says():
    """Of collections of faces drawn from one world, one in twenty shows a lower bound above the true difference."""
    above = 0
    for seed in range(50):
        truth = faces(400, seed)
        above += compare_paired(truth, said(truth, 0.7, seed + 1000), said(truth, 0.75, seed + 2000), seed=seed).accuracy.lower > 0.05
    assert 1 <= above <= 8


def test_rare_classes_do_not_count_in_the_mean():
    truth = np.repeat([0, 1, 7], [100, 100, 3])
    one, two = truth.copy(), truth.copy()
    two[-3:] = 0
    assert compare_paired(truth, one, two, least=1).macro_f1.gain < -0.3
    assert abs(compare_paired(truth, one, two, least=50).macro_f1.gain) < 0.02
    assert compare_paired(truth, one, two, least=50).recall["contempt"].gain == -1
    assert compare_paired(truth, one, two, least=1000).macro_f1.gain == 0


def test_the_same_seed_gives_the_same_bounds():
    truth = faces(200)
    one, two = said(truth, 0.5, 1), said(truth, 0.6, 2)
    assert compare_paired(truth, one, two, seed=5) == compare_paired(truth, one, two, seed=5)
    assert compare_paired(truth, one, two, seed=5).accuracy != compare_paired(truth, one, two, seed=6).accuracy


def test_no_face_at_all():
    nothing = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="no face"):
        compare_paired(nothing, nothing, nothing)
