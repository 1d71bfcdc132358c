"""The processes that train one model together under `torchrun`; one process alone is the usual case.

Every process holds the whole model and computes the gradient of its share of each batch; the gradients are averaged, so all take the same
step. Only the first one writes.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from fer_core.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among `world` ones."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, index: Tensor) -> Tensor:
        """This process's part of a batch, (B,) -> (about B / world,)."""
        return index[self.rank :: self.world]

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each floating-point tensor by its mean over the processes, in one exchange."""
        each = [tensor for tensor in tensors if tensor.is_floating_point()]
        if self.world == 1 or not each:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in each])
        dist.all_reduce(flat)
        flat /= self.world
        with torch.no_grad():
            for tensor, mean in zip(each, torch.split(flat, [tensor.numel() for tensor in each]), strict=True):
                tensor.copy_(mean.view_as(tensor))

    def broadcast_from_rank0(self, numbers: Sequence[float], device: torch.device) -> list[float]:
        """The first process's numbers in every process: sums may differ in their last bits, and decisions by them must not."""
        if self.world == 1:
            return list(numbers)
        told = torch.tensor(numbers, dtype=torch.float64, device=device)
        dist.broadcast(told, 0)
        return [float(number) for number in told]

    def barrier(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


@contextmanager
def init_distributed(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """The ranks and this process's device; one rank where `torchrun` did not start it.

    An error ends the process without a shutdown of the group, and `torchrun` then ends the others: they may be waiting for this one, and
    NCCL's shutdown waits for all.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield Ranks(), device
        return
    if device.type == "cuda":
        if int(os.environ.get("LOCAL_WORLD_SIZE", world)) > torch.cuda.device_count():
            raise TrainingError(f"torchrun started more processes than GPUs ({torch.cuda.device_count()})")
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield Ranks(dist.get_rank(), dist.get_world_size()), device
    dist.destroy_process_group()
