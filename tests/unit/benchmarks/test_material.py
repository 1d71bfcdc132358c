import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.faceset import read_split
from fer_core.labels import EXPRESSIONS
from fer_core.predict.predictor import load_predictor
from fer_core.training.dataset import balanced, distill, training_data
from fer_core.training.teacher import ModelTeacher
from tests.support.made_faces import faces, made_faceset, small_model


def test_faces_targets_and_weights(tmp_path) -> None:
    split = read_split(made_faceset(tmp_path, {"train": 24}, "single", colour=True), "train", luma=True)
    own = training_data(split, smoothing=0.08, balance=0.0)
    assert own.faces.shape == (24, 1, 112, 112)
    assert own.faces.dtype == torch.uint8
    assert own.targets[0].tolist() == pytest.approx([0.93] + 7 * [0.01])
    assert own.weights.tolist() == [1.0] * 24
    assert len(own.to(torch.device("cpu"))) == 24
    assert np.shares_memory(own.faces.numpy(), split.crops)  # of a large set a copy would be gigabytes


def test_faces_in_which_nobody_saw_an_expression_are_left_out(tmp_path) -> None:
    split = read_split(made_faceset(tmp_path, {"train": 24}), "train", luma=True)
    split.votes[5] = 0
    split.votes[6, :8], split.votes[6, 8] = 0, 10
    own = training_data(split, 0.0, 0.0)
    assert len(own) == 22
    assert torch.equal(own.faces[5, 0], torch.from_numpy(split.crops[7]))


def test_teachers_are_mixed_in(tmp_path) -> None:
    split = read_split(made_faceset(tmp_path / "set", {"train": 16}), "train", luma=True)
    own = training_data(split, 0.0, 0.0)
    teachers = [load_predictor(str(small_model(tmp_path / name, temperature=t).path), "cpu") for name, t in (("a", 0.5), ("b", 2.0))]
    said = sum(teacher.probabilities(split.crops) for teacher in teachers) / 2
    mixed = distill(own, [ModelTeacher(teacher).answers(own) for teacher in teachers], 0.25)
    np.testing.assert_allclose(mixed.targets.numpy(), 0.75 * own.targets.numpy() + 0.25 * said, atol=1e-6)
    assert distill(own, [], 0.25) is own
    assert mixed.faces is own.faces


def test_teachers_have_no_say_in_what_somebody_has_settled(tmp_path) -> None:
    split = read_split(made_faceset(tmp_path / "set", {"train": 16}), "train", luma=True)
    split.votes[2] = 0  # no vote for an expression: the following faces move up
    own = training_data(split, 0.0, 0.0, {split.pictures[5], split.pictures[9]})
    assert own.skip_teacher.nonzero().flatten().tolist() == [4, 8]
    teacher = ModelTeacher(load_predictor(str(small_model(tmp_path / "model").path), "cpu"))
    mixed = distill(own, [teacher.answers(own)], 0.5)
    changed = (mixed.targets != own.targets).any(1)
    assert torch.equal(changed, ~own.skip_teacher)


def test_balance_by_hand() -> None:
    targets = np.zeros((4, 8), np.float32)
    targets[:3, 0], targets[3, 4] = 1, 1
    even = balanced(targets, np.ones(4, np.float32), 1.0)
    assert even.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])  # both classes have half of the weight
    assert balanced(targets, np.ones(4, np.float32), 0.0).tolist() == [1, 1, 1, 1]
    some = balanced(targets, np.ones(4, np.float32), 0.5)
    assert some[3] / some[0] == pytest.approx(3**0.5)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.integers(0, 7), st.floats(0.1, 1)), min_size=1, max_size=30), st.floats(0, 1))
def test_balance_keeps_the_mean_weight(each: list[tuple[int, float]], power: float) -> None:
    targets = np.eye(8, dtype=np.float32)[[k for k, _ in each]]
    weights = np.array([w for _, w in each], np.float32)
    out = balanced(targets, weights, power)
    assert out.sum() == pytest.approx(weights.sum(), rel=1e-4)
    assert (out > 0).all()
    shares, after = weights @ targets, out @ targets
    order = np.argsort(shares[shares > 0])
    ratio = (after[shares > 0] / shares[shares > 0])[order]
    assert (np.diff(ratio) <= 1e-4 * ratio[:-1]).all()  # the rarer a class, the more it is raised


def test_nothing_at_all() -> None:
    assert balanced(np.zeros((0, 8), np.float32), np.zeros(0, np.float32), 0.5).shape == (0,)
    assert len(EXPRESSIONS) == faces(8).shape[0]
