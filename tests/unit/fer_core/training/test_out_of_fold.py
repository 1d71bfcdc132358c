"""Heads that did not learn from the faces they are asked about."""

import numpy as np
import pytest

from fer_core.errors import TrainingError
from fer_core.models.calibration import softmax
from fer_core.training.head_validation import folds
from fer_core.training.out_of_fold import FoldPlan, fit_logistic, out_of_fold


def drawn(number: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of three classes that overlap a little."""
    random = np.random.default_rng(seed)
    classes = np.arange(number) % 3
    vectors = np.eye(6)[classes] + 0.4 * random.normal(size=(number, 6))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes


def test_the_fit_is_the_minimum() -> None:
    vectors, classes = drawn()
    weights, bias = fit_logistic(vectors, classes, 3, 0.5)
    missing = softmax(vectors @ weights.T + bias) - np.eye(3)[classes]
    # the loss is convex, and this is its gradient
    assert missing.T @ vectors + 0.5 * weights == pytest.approx(np.zeros((3, 6)), abs=1e-3)
    assert missing.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-3)


def test_no_face_is_learned_from_before_it_is_asked_about() -> None:
    vectors, classes = drawn()
    groups, pictures = [f"person {number // 2}" for number in range(60)], [f"picture {number}" for number in range(60)]
    plan = FoldPlan(groups, pictures, 5, 0)
    before = out_of_fold(vectors, classes, 3, plan)
    assert before.sum(axis=1) == pytest.approx(1)
    assert (before.argmax(axis=1) == classes).mean() > 0.8
    changed = classes.copy()
    fold = folds(groups, 5, "0")
    changed[fold == fold[0]] = (classes[fold == fold[0]] + 1) % 3
    assert np.array_equal(out_of_fold(vectors, changed, 3, plan)[fold == fold[0]], before[fold == fold[0]])
    assert not np.array_equal(out_of_fold(vectors, changed, 3, plan)[fold != fold[0]], before[fold != fold[0]])


def test_a_copy_of_a_held_out_picture_is_not_learned_from() -> None:
    vectors, classes = drawn()
    groups, pictures = [f"person {number}" for number in range(60)], [f"picture {number}" for number in range(60)]
    fold = folds(groups, 5, "0")
    other = int(np.flatnonzero(fold != fold[0])[0])
    pictures[other] = pictures[0]
    before = out_of_fold(vectors, classes, 3, FoldPlan(groups, pictures, 5, 0))
    changed = classes.copy()
    changed[other] = (classes[other] + 1) % 3
    assert np.array_equal(out_of_fold(vectors, changed, 3, FoldPlan(groups, pictures, 5, 0))[0], before[0])


def test_folds_are_drawn_by_seed_and_the_same_each_time() -> None:
    groups = [f"person {number}" for number in range(40)]
    assert np.array_equal(folds(groups, 4, "7"), folds(groups, 4, "7"))
    assert not np.array_equal(folds(groups, 4, "7"), folds(groups, 4, "8"))
    assert np.bincount(folds(groups, 4, "7")).tolist() == [10] * 4
    assert sorted(folds(groups[:6], 4)) == list(range(6))


def test_one_group_alone_cannot_be_held_out() -> None:
    vectors, classes = drawn(6)
    with pytest.raises(TrainingError, match="at least two groups"):
        out_of_fold(vectors, classes, 3, FoldPlan(["a"] * 6, list("abcdef"), 5, 0))
