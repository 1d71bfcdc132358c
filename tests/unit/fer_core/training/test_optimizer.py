import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fer_core.training.optimizer import CLIP, SamOptimizer, rate, update_average, warmed


def untouched(gradients: list[Tensor]) -> None:
    """The average of one process."""


class Bowl(nn.Module):
    """Loss = curvature * weight^2 / 2 summed, with a batch norm beside it that counts how often it ran."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, -0.5]], dtype=torch.float64))
        self.bias = nn.Parameter(torch.tensor([0.25], dtype=torch.float64))
        self.norm = nn.BatchNorm1d(1, affine=False, dtype=torch.float64)

    def forward(self) -> Tensor:
        self.norm(torch.tensor([[0.0], [4.0]], dtype=torch.float64))
        return (self.weight.square() * torch.tensor([2.0, 1.0])).sum() / 2 + self.bias.square().sum() / 2


def moved(sam_radius: float = 0.0, weight_decay: float = 0.0, share: float = 1.0) -> Bowl:
    bowl = Bowl()
    SamOptimizer(bowl, nn.Module(), 0.1, weight_decay, sam_radius).step(bowl, share, untouched)
    return bowl


def test_plain_step_by_hand() -> None:
    # Nesterov's first step is 1.9 times the gradient
    assert moved().weight.tolist() == [pytest.approx([1 - 0.19 * 2, -0.5 + 0.19 * 0.5])]
    assert moved(share=0.5).bias.tolist() == pytest.approx([0.25 - 0.095 * 0.25])


def test_decay_is_for_matrices_only() -> None:
    assert moved(weight_decay=1.0).weight.tolist() == [pytest.approx([1 - 0.19 * 3, -0.5 + 0.19 * 1])]
    assert moved(weight_decay=1.0).bias.tolist() == moved().bias.tolist()


def test_directions_are_not_decayed() -> None:
    bowl = Bowl()
    SamOptimizer(bowl, nn.Module(), 0.1, 1.0, 0.0, [bowl.weight]).step(bowl, 1.0, untouched)
    assert torch.equal(bowl.weight, moved().weight)


def test_sharpness_aware_step_takes_the_gradient_uphill() -> None:
    gradient = torch.tensor([2.0, -0.5, 0.25], dtype=torch.float64)
    up = 0.2 * gradient / gradient.norm()
    expected = torch.tensor([[1.0, -0.5]], dtype=torch.float64) - 0.19 * torch.tensor([2.0, 1.0]) * (
        torch.tensor([1.0, -0.5], dtype=torch.float64) + up[:2]
    )
    torch.testing.assert_close(moved(sam_radius=0.2).weight.detach(), expected)


def test_batch_statistics_count_a_batch_once() -> None:
    assert moved(sam_radius=0.2).norm.running_mean.tolist() == moved().norm.running_mean.tolist() == pytest.approx([0.2])
    assert moved(sam_radius=0.2).norm.momentum == 0.1


def test_large_gradients_are_clipped() -> None:
    bowl = Bowl()
    before = copy.deepcopy(bowl.state_dict())
    SamOptimizer(bowl, nn.Module(), 0.1, 0.0, 0.0).step(lambda: 1000 * bowl(), 1.0, untouched)
    steps = [(before[name] - now).norm() for name, now in bowl.state_dict().items() if name in ("weight", "bias")]
    assert float(torch.stack(steps).norm()) == pytest.approx(0.19 * CLIP, rel=1e-4)


def test_the_loss_has_parameters_too() -> None:
    bowl, loss = Bowl(), nn.Linear(2, 1, dtype=torch.float64)
    before = loss.weight.detach().clone()
    optimiser = SamOptimizer(bowl, loss, 0.1, 10.0, 0.0)
    optimiser.step(lambda: bowl() + loss(bowl.weight.detach()).sum(), 1.0, untouched)
    torch.testing.assert_close(loss.weight.detach(), before - 0.19 * torch.tensor([[1.0, -0.5]], dtype=torch.float64))  # not decayed
    assert len(optimiser.tensors()) == 4


def test_gradients_are_averaged_before_the_step() -> None:
    bowl = Bowl()

    def halved(gradients: list[Tensor]) -> None:
        for gradient in gradients:
            gradient.div_(2)

    SamOptimizer(bowl, nn.Module(), 0.1, 0.0, 0.0).step(bowl, 1.0, halved)
    assert bowl.bias.tolist() == pytest.approx([0.25 - 0.095 * 0.25])


def test_average_follows() -> None:
    network, average = Bowl(), Bowl()
    with torch.no_grad():
        network.weight += 1
        network.norm.num_batches_tracked += 3
    update_average(average, network, 0.9)
    assert average.weight.tolist() == [pytest.approx([1.1, -0.4])]
    assert int(average.norm.num_batches_tracked) == 3


def test_a_short_run_has_an_average_too() -> None:
    assert [warmed(0.998, step) for step in (0, 90, 100_000)] == pytest.approx([0.1, 0.91, 0.998])
    average, network = Bowl(), Bowl()
    with torch.no_grad():
        network.weight += 1
    for step in range(200):
        update_average(average, network, warmed(0.998, step))
    torch.testing.assert_close(average.weight, network.weight)  # 0.998 alone would leave two thirds of where it began


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_learning_rate(epochs: int) -> None:
    rates = np.array([rate(step, 10, epochs) for step in range(10 * epochs)])
    assert rates.max() == 1
    assert (rates > 0).all()
    assert (np.diff(rates[:10]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    if epochs > 1:
        assert rates[-1] < 0.1
