import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fer_core.losses import CenterCosineLoss, LossConfig, separation


def simplex(count: int) -> Tensor:
    """(K, K) K directions, each pair at cosine -1 / (K - 1)."""
    return torch.eye(count, dtype=torch.float64) - 1 / count


def loss_of(embeddings: Tensor, centers: Tensor, targets: Tensor, weights: Tensor | None = None, scale: float = 8.0) -> Tensor:
    cosines = F.linear(F.normalize(embeddings), F.normalize(centers))
    return CenterCosineLoss(scale, LossConfig(0.2, 0.5, 1.0))(cosines, centers, targets, weights)


def random_case(batch: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(batch, 6, generator=generator, dtype=torch.float64)
    centers = torch.randn(classes, 6, generator=generator, dtype=torch.float64)
    targets = torch.rand(batch, classes, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, generator=generator, dtype=torch.float64)
    return embeddings, centers, targets / targets.sum(1, keepdim=True), weights


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(weighted: bool) -> None:
    embeddings, centers, targets, weights = random_case(4, 5)
    inputs = (embeddings.requires_grad_(), centers.requires_grad_())
    assert torch.autograd.gradcheck(lambda e, c: loss_of(e, c, targets, weights if weighted else None), inputs)


def test_value_computed_by_hand() -> None:
    cosines = torch.tensor([[0.5, -0.25]], dtype=torch.float64)
    centers = torch.tensor([[2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)  # at right angles: excess 0 - (-1) = 1
    targets = torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    a, b = 4 * (0.5 - 0.2 * 0.75), 4 * (-0.25 - 0.2 * 0.25)
    log_sum = math.log(math.exp(a) + math.exp(b))
    expected = -(0.75 * (a - log_sum) + 0.25 * (b - log_sum)) + 0.5 * (0.75 * 0.5 + 0.25 * 1.25) + 2.0 * 1.0
    assert float(CenterCosineLoss(4.0, LossConfig(0.2, 0.5, 2.0))(cosines, centers, targets)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_separation_is_zero_for_the_simplex_only(count: int) -> None:
    centers = simplex(count)
    assert float(separation(centers)) == pytest.approx(0, abs=1e-20)
    assert float(separation(7 * centers)) == pytest.approx(0, abs=1e-20)
    turned = centers.clone()
    turned[0] += 0.3  # all ones stand at right angles to the simplex
    assert float(separation(turned)) > 1e-4
    together = torch.ones(count, count, dtype=torch.float64)
    assert float(separation(together)) == pytest.approx((1 + 1 / (count - 1)) ** 2)


def test_descending_the_separation_reaches_the_simplex() -> None:
    centers = random_case(1, 4)[1].requires_grad_()
    optimiser = torch.optim.SGD([centers], lr=1.0)
    for _ in range(500):
        optimiser.zero_grad()
        separation(centers).backward()
        optimiser.step()
    unit = F.normalize(centers.detach())
    off = (unit @ unit.T)[~torch.eye(4, dtype=torch.bool)]
    assert float(off.max()) < -0.3


def test_one_hot_targets_give_cosface() -> None:
    embeddings, centers, _, _ = random_case(16, 5)
    truth = torch.arange(16) % 5
    one_hot = F.one_hot(truth, 5).double()
    cosines = F.linear(F.normalize(embeddings), F.normalize(centers))
    ours = CenterCosineLoss(8.0, LossConfig(margin=0.3, compactness=0, separation=0))(cosines, centers, one_hot)
    cosface = F.cross_entropy(8.0 * (cosines - 0.3 * one_hot), truth)
    assert float(ours) == pytest.approx(float(cosface), abs=1e-12)


def test_without_margin_and_centers_it_is_soft_cross_entropy() -> None:
    embeddings, centers, targets, _ = random_case(16, 5)
    cosines = F.linear(F.normalize(embeddings), F.normalize(centers))
    ours = CenterCosineLoss(8.0, LossConfig(0, 0, 0))(cosines, centers, targets)
    assert float(ours) == pytest.approx(float(F.cross_entropy(8.0 * cosines, targets)), abs=1e-12)


def test_weights_act_as_repetition() -> None:
    embeddings, centers, targets, _ = random_case(3, 5)
    twice = torch.tensor([0, 1, 1, 2, 2, 2])
    repeated = loss_of(embeddings[twice], centers, targets[twice])
    weighted = loss_of(embeddings, centers, targets, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64))
    assert float(weighted) == pytest.approx(float(repeated), abs=1e-12)


def test_a_face_of_weight_zero_does_not_count() -> None:
    embeddings, centers, targets, _ = random_case(3, 5)
    weights = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    assert float(loss_of(embeddings, centers, targets, weights)) == pytest.approx(float(loss_of(embeddings[:2], centers, targets[:2])))


@settings(deadline=None, max_examples=40)
@given(
    batch=st.integers(1, 4),
    classes=st.integers(1, 9),
    scale=st.sampled_from([1.0, 16.0, 64.0]),
    zero=st.booleans(),
    seed=st.integers(0, 99),
)
def test_always_finite(batch: int, classes: int, scale: float, zero: bool, seed: int) -> None:
    embeddings, centers, targets, weights = (tensor.float() for tensor in random_case(batch, classes, seed))
    if zero:
        embeddings, centers, weights = torch.zeros_like(embeddings), torch.zeros_like(centers), torch.zeros_like(weights)
    inputs = (embeddings.requires_grad_(), centers.requires_grad_())
    loss = loss_of(*inputs, targets, weights, scale)
    loss.backward()
    assert loss.isfinite()
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in inputs)


def test_one_class_has_nothing_to_separate() -> None:
    centers = torch.ones(1, 6)
    assert float(separation(centers)) == 0
    assert float(CenterCosineLoss(16.0, LossConfig())(torch.ones(2, 1), centers, torch.ones(2, 1))) == 0
