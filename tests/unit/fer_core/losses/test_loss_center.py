import math

import pytest
import torch
import torch.nn.functional as F

from fer_core.losses.center import CenterLoss
from fer_core.losses.choice import build
from fer_core.losses.objective import LossConfig
from tests.support.loss_cases import EMBEDDING, case, loss_of


def with_means(means: torch.Tensor, compactness: float) -> CenterLoss:
    """A center loss that has learned these means."""
    loss = CenterLoss(LossConfig("center", compactness=compactness), 16.0, *means.shape).double()
    loss.scaled_means.data = math.sqrt(compactness) * means
    return loss


def test_value_computed_by_hand() -> None:
    """Logits 2 and 6, distances squared 1 and 25."""
    centers = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    loss = with_means(torch.tensor([[2.0, 2.0], [-1.0, -1.0]], dtype=torch.float64), 0.1)
    face, targets = torch.tensor([[2.0, 3.0]], dtype=torch.float64), torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    log_sum = math.log(math.exp(2) + math.exp(6))
    expected = 0.75 * (log_sum - 2) + 0.25 * (log_sum - 6) + 0.1 / 2 * (0.75 * 1 + 0.25 * 25)
    assert loss(face, centers, targets).item() == pytest.approx(expected, abs=1e-12)


def test_without_weight_it_is_cross_entropy() -> None:
    x = case(4, 5)
    plain, center = loss_of("cross_entropy", 5), loss_of("center", 5, compactness=0)
    assert center(x.embeddings, x.centers, x.targets).item() == plain(x.embeddings, x.centers, x.targets).item()


@pytest.mark.parametrize("compactness", [0.001, 0.01, 0.5])
def test_means_arrive_at_the_same_pace_whatever_the_weight(compactness: float) -> None:
    """One face in twenty is of class 1: in 200 steps of 0.1 its mean covers all but 0.995^200 = 37 % of the way."""
    embeddings = case(40, 2, seed=3).embeddings
    truth = torch.tensor([0] * 38 + [1] * 2)
    means = torch.stack([embeddings[truth == k].mean(0) for k in (0, 1)])
    loss = with_means(torch.zeros_like(means), compactness)
    optimiser = torch.optim.SGD(loss.parameters(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        loss(embeddings, torch.zeros_like(means), F.one_hot(truth, 2).double()).backward()
        optimiser.step()
    reached = loss.scaled_means.detach() / math.sqrt(compactness)
    left = torch.linalg.vector_norm(reached - means, dim=1) / torch.linalg.vector_norm(means, dim=1)
    assert left.tolist() == pytest.approx([0.905**200, 0.995**200], abs=1e-9)


def test_a_class_that_nobody_has_keeps_its_mean() -> None:
    x, loss = case(6, 5), loss_of("center", 5)
    targets = F.one_hot(torch.arange(6) % 4, 5).double()
    loss(x.embeddings, x.centers, targets).backward()
    (means,) = loss.parameters()
    assert means.grad is not None
    assert means.grad[4].tolist() == [0] * EMBEDDING
    assert bool((means.grad[:4] != 0).all())


@pytest.mark.parametrize("kind", ["center", "island"])
def test_the_usual_weight_makes_the_terms_alike_before_training(kind: str) -> None:
    """As far as a batch norm lets embeddings be from anything: about sqrt(256)."""
    torch.manual_seed(0)
    embeddings = torch.nn.BatchNorm1d(256)(torch.randn(512, 256)).detach()
    centers = torch.nn.init.orthogonal_(torch.empty(8, 256))
    targets = F.one_hot(torch.arange(512) % 8, 8).float()
    loss = build(LossConfig(kind), 16.0, 8, 256)
    both = loss.of_faces(embeddings, centers, targets).mean().item()
    fit = F.cross_entropy(embeddings @ centers.T, targets).item()
    assert fit == pytest.approx(math.log(8), abs=0.6)
    assert 0.5 * fit < both - fit < 2 * fit
