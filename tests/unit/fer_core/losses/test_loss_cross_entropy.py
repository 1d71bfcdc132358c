import pytest
import torch
import torch.nn.functional as F

from fer_core.losses.choice import build
from fer_core.losses.objective import LossConfig
from tests.support.loss_cases import EMBEDDING, case, loss_of


def test_against_torch() -> None:
    x = case(16, 5)
    logits = x.embeddings @ x.centers.T
    each = F.cross_entropy(logits, x.targets, reduction="none")
    loss = loss_of("cross_entropy", 5)
    assert loss(x.embeddings, x.centers, x.targets).item() == pytest.approx(each.mean().item(), abs=1e-12)
    weighted = (each * x.weights).sum() / x.weights.sum()
    assert loss(x.embeddings, x.centers, x.targets, x.weights).item() == pytest.approx(weighted.item(), abs=1e-12)


def test_the_scale_of_cosines_has_no_part_in_it() -> None:
    x = case(4, 5)
    values = {build(LossConfig("cross_entropy"), scale, 5, EMBEDDING)(x.embeddings, x.centers, x.targets).item() for scale in (1, 16)}
    assert len(values) == 1


def test_nothing_overflows_where_a_class_is_sure() -> None:
    far = torch.tensor([[1e4, 0.0]], requires_grad=True)
    value = loss_of("cross_entropy", 2)(far, torch.eye(2), torch.tensor([[0.0, 1.0]]))
    value.backward()
    assert value.item() == pytest.approx(1e4)
    assert far.grad is not None
    assert far.grad.tolist() == [[1, -1]]
