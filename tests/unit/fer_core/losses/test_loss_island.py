import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F

from fer_core.losses.island import IslandLoss
from fer_core.losses.objective import LossConfig
from tests.support.loss_cases import case, loss_of, simplex


def with_means(means: torch.Tensor, compactness: float = 1.0, separation: float = 1.0) -> IslandLoss:
    """An island loss that has learned these means."""
    loss = IslandLoss(LossConfig("island", compactness=compactness, separation=separation), 16.0, *means.shape).double()
    loss.scaled_means.data = math.sqrt(compactness) * means
    return loss


def test_the_push_is_the_sum_over_ordered_pairs() -> None:
    means = case(1, 5).centers
    expected = sum(F.cosine_similarity(means[j], means[k], dim=0).item() + 1 for j, k in permutations(range(5), 2))
    assert with_means(means, 0.2, 3.0).of_classes(torch.zeros(5, 6)).item() == pytest.approx(0.2 * 3.0 * expected, abs=1e-12)


def test_it_is_center_loss_and_the_push() -> None:
    x = case(4, 5)
    island, center = loss_of("island", 5, compactness=0.3, separation=2.0), loss_of("center", 5, compactness=0.3)
    island.load_state_dict(center.state_dict())
    expected = center(x.embeddings, x.centers, x.targets).item() + island.of_classes(x.centers).item()
    assert island(x.embeddings, x.centers, x.targets).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_push_ends_at_the_simplex(count: int) -> None:
    least = count * (count - 2)
    assert with_means(simplex(count)).of_classes(torch.zeros(1)).item() == pytest.approx(least, abs=1e-9)
    assert with_means(torch.eye(count, dtype=torch.float64)).of_classes(torch.zeros(1)).item() == pytest.approx(least + count)
    assert with_means(torch.ones(count, 3, dtype=torch.float64)).of_classes(torch.zeros(1)).item() == pytest.approx(2 * count * (count - 1))


def test_means_apart_are_learned_against_the_pull_of_faces() -> None:
    """Two classes in nearly the same place: center loss leaves the means there, island loss turns them apart."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.tensor([[1.0, 0.2], [1.0, -0.2]], dtype=torch.float64).repeat(10, 1)
    embeddings = embeddings + 0.05 * torch.randn(20, 2, generator=generator, dtype=torch.float64)
    targets = torch.eye(2, dtype=torch.float64).repeat(10, 1)
    reached = []
    for separation in (0.0, 0.5):
        loss = with_means(torch.tensor([[1.0, 0.1], [1.0, -0.1]], dtype=torch.float64), 1.0, separation)
        optimiser = torch.optim.SGD(loss.parameters(), lr=0.1)
        for _ in range(200):
            optimiser.zero_grad()
            loss(embeddings, torch.zeros(2, 2, dtype=torch.float64), targets).backward()
            optimiser.step()
        reached.append(F.cosine_similarity(*loss.scaled_means.detach(), dim=0).item())
    assert reached[0] > 0.9
    assert reached[1] < 0
