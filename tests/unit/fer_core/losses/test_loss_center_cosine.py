import math

import pytest
import torch
import torch.nn.functional as F

from fer_core.losses.center_cosine import separation
from tests.support.loss_cases import case, loss_of, simplex


def test_value_computed_by_hand() -> None:
    """Two centers at right angles: their excess over -1 is 1. The face has the cosines 0.6 and -0.8."""
    centers = torch.tensor([[2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    face, targets = torch.tensor([[3.0, -4.0]], dtype=torch.float64), torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    a, b = 4 * (0.6 - 0.2 * 0.75), 4 * (-0.8 - 0.2 * 0.25)
    log_sum = math.log(math.exp(a) + math.exp(b))
    expected = -(0.75 * (a - log_sum) + 0.25 * (b - log_sum)) + 0.5 * (0.75 * 0.4 + 0.25 * 1.8) + 2.0 * 1.0
    loss = loss_of("center_cosine", 2, 4.0, margin=0.2, compactness=0.5, separation=2.0)
    assert loss(face, centers, targets).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_separation_is_zero_for_the_simplex_only(count: int) -> None:
    centers = simplex(count)
    assert separation(centers).item() == pytest.approx(0, abs=1e-20)
    assert separation(7 * centers).item() == pytest.approx(0, abs=1e-20)
    turned = centers.clone()
    turned[0] += 0.3  # all ones stand at right angles to the simplex
    assert separation(turned).item() > 1e-4
    together = torch.ones(count, count, dtype=torch.float64)
    assert separation(together).item() == pytest.approx((1 + 1 / (count - 1)) ** 2)


def test_pairs_further_apart_than_the_simplex_cost_nothing() -> None:
    """Cosines -1, 0 and 0 of three centers: an excess over -1/2 of nothing, 1/2 and 1/2."""
    centers = torch.tensor([[1.0, 0.0], [-2.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert separation(centers).item() == pytest.approx((0.25 + 0.25) / 3)


def test_descending_the_separation_reaches_the_simplex() -> None:
    centers = case(1, 4).centers.requires_grad_()
    optimiser = torch.optim.SGD([centers], lr=1.0)
    for _ in range(500):
        optimiser.zero_grad()
        separation(centers).backward()
        optimiser.step()
    unit = F.normalize(centers.detach())
    off = (unit @ unit.T)[~torch.eye(4, dtype=torch.bool)]
    assert off.max().item() < -0.3


def test_one_hot_targets_give_cosface() -> None:
    x = case(16, 5)
    one_hot = F.one_hot(torch.arange(16) % 5, 5).double()
    ours = loss_of("center_cosine", 5, margin=0.3, compactness=0, separation=0)(x.embeddings, x.centers, one_hot)
    cosface = loss_of("cosface", 5, margin=0.3)(x.embeddings, x.centers, one_hot)
    assert ours.item() == pytest.approx(cosface.item(), abs=1e-12)


def test_without_margin_and_centers_it_is_soft_cross_entropy() -> None:
    x = case(16, 5)
    cosines = F.linear(F.normalize(x.embeddings), F.normalize(x.centers))
    ours = loss_of("center_cosine", 5, margin=0, compactness=0, separation=0)(x.embeddings, x.centers, x.targets)
    assert ours.item() == pytest.approx(F.cross_entropy(8.0 * cosines, x.targets).item(), abs=1e-12)


def test_raters_who_are_split_evenly_ask_for_no_margin() -> None:
    """Equal margins cancel in the softmax; the whole margin for each answer, as in CosFace, would not."""
    x = case(6, 5)
    even = torch.full((6, 5), 0.2, dtype=torch.float64)
    with_margin, without = (
        loss_of("center_cosine", 5, margin=m, compactness=0, separation=0)(x.embeddings, x.centers, even).item() for m in (0.3, 0)
    )
    assert with_margin == pytest.approx(without, abs=1e-12)
    assert loss_of("cosface", 5, margin=0.3)(x.embeddings, x.centers, even).item() > without + 0.1


def test_one_class_has_nothing_to_separate() -> None:
    centers = torch.ones(1, 6, dtype=torch.float64)
    assert separation(centers).item() == 0
    value = loss_of("center_cosine", 1)(torch.ones(2, 6, dtype=torch.float64), centers, torch.ones(2, 1))
    assert value.item() == pytest.approx(0, abs=1e-12)
