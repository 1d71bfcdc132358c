"""The optimiser: SGD with Nesterov momentum, plain or sharpness-aware, a cosine learning rate, averaged weights."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

CLIP = 5.0
"""Largest norm of a gradient: one odd batch does not throw the weights far."""


class SamOptimizer:
    """Updates the parameters of a network and of its loss. `tensors` is its state."""

    def __init__(  # noqa: PLR0917  (a table of plain values)
        self,
        network: nn.Module,
        loss: nn.Module,
        learning_rate: float,
        weight_decay: float,
        sam_radius: float,
        directions: Sequence[nn.Parameter] = (),
    ) -> None:
        """directions: parameters of which only the direction counts; decaying their length would only change their learning rate."""
        self.network, self.sam_radius, self.learning_rate = network, sam_radius, learning_rate
        self.parameters: list[nn.Parameter] = [*network.parameters(), *loss.parameters()]
        spared = {id(p) for p in (*loss.parameters(), *directions)}
        decayed = [p for p in self.parameters if p.ndim > 1 and id(p) not in spared]
        others = [p for p in self.parameters if p.ndim <= 1 or id(p) in spared]
        groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.sgd = torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)
        for p in self.parameters:  # there from the start, so that a checkpoint always has the same tensors
            self.sgd.state[p]["momentum_buffer"] = torch.zeros_like(p)

    def tensors(self) -> dict[str, Tensor]:
        """Momenta by number; loading a checkpoint copies into them."""
        return {f"momentum.{i}": self.sgd.state[p]["momentum_buffer"] for i, p in enumerate(self.parameters)}

    def step(self, loss: Callable[[], Tensor], share: float, average: Callable[[list[Tensor]], None]) -> Tensor:
        """One step. loss: computes the batch's loss; share: of the peak learning rate; average: gradients over the processes."""
        value = self._gradients(loss, average)
        if self.sam_radius > 0:
            self._sharpness_aware(loss, average)
        for group in self.sgd.param_groups:
            group["lr"] = self.learning_rate * share
        torch.nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.sgd.step()
        return value

    def _gradients(self, loss: Callable[[], Tensor], average: Callable[[list[Tensor]], None]) -> Tensor:
        self.sgd.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        average([p.grad for p in self.parameters if p.grad is not None])
        return value.detach()

    def _sharpness_aware(self, loss: Callable[[], Tensor], average: Callable[[list[Tensor]], None]) -> None:
        """Replace the gradient by the one at the worst point within the radius (Foret et al., "SAM", ICLR 2021).

        Batch norm's running statistics count the batch once: they are frozen during the second pass.
        """
        moved = [(p, p.grad.clone()) for p in self.parameters if p.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for _, g in moved])).clamp_min(1e-12)
        reach = float(self.sam_radius / norm)
        with torch.no_grad():
            for p, gradient in moved:
                p.add_(gradient, alpha=reach)
        norms = [m for m in self.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        kept = [m.momentum for m in norms]
        for m in norms:
            m.momentum = 0.0
        self._gradients(loss, average)
        for m, momentum in zip(norms, kept, strict=True):
            m.momentum = momentum
        with torch.no_grad():
            for p, gradient in moved:
                p.sub_(gradient, alpha=reach)


def rate(step: int, steps: int, epochs: int) -> float:
    """Share of the peak learning rate at `step`: linear warm-up over the first epoch, then half a cosine to zero at the end."""
    if step < steps:
        return (step + 1) / steps
    done = (step - steps) / max(1, steps * (epochs - 1))
    return float(0.5 * (1 + np.cos(np.pi * min(1.0, done))))


def warmed(decay: float, step: int) -> float:
    """The moving average's decay at `step`: it spans a ninth of the run at most, so that short runs have one, too."""
    return min(decay, (1 + step) / (10 + step))


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the averaged weights and batch statistics a little towards the present ones; counters are copied."""
    with torch.no_grad():
        pairs: Sequence[tuple[Tensor, Tensor]] = list(zip(average.state_dict().values(), network.state_dict().values(), strict=True))
        for mean, now in pairs:
            if mean.is_floating_point():
                mean.lerp_(now, 1 - decay)
            else:
                mean.copy_(now)
