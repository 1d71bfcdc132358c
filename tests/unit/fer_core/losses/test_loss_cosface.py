import math

import pytest
import torch
import torch.nn.functional as F

from tests.support.loss_cases import case, loss_of


def test_it_is_cross_entropy_with_a_margin() -> None:
    x = case(16, 5)
    truth = torch.arange(16) % 5
    one_hot = F.one_hot(truth, 5).double()
    cosines = F.linear(F.normalize(x.embeddings), F.normalize(x.centers))
    expected = F.cross_entropy(8.0 * (cosines - 0.3 * one_hot), truth)
    assert loss_of("cosface", 5, margin=0.3)(x.embeddings, x.centers, one_hot).item() == pytest.approx(expected.item(), abs=1e-12)


def test_soft_targets_by_hand() -> None:
    """Cosines 0.6 and -0.8: each answer has its margin on its own logit, whatever its share."""
    centers = torch.tensor([[2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    face, targets = torch.tensor([[3.0, -4.0]], dtype=torch.float64), torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    first = math.log1p(math.exp(4 * -0.8 - 4 * (0.6 - 0.2)))
    second = math.log1p(math.exp(4 * 0.6 - 4 * (-0.8 - 0.2)))
    expected = 0.75 * first + 0.25 * second
    assert loss_of("cosface", 2, 4.0, margin=0.2)(face, centers, targets).item() == pytest.approx(expected, abs=1e-12)


def test_a_larger_margin_costs_more() -> None:
    x = case(16, 5)
    values = [loss_of("cosface", 5, margin=m)(x.embeddings, x.centers, x.targets).item() for m in (0, 0.1, 0.35, 1.0)]
    assert values == sorted(values)
    assert values[0] < values[1]
