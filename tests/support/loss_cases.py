"""Random inputs for the losses."""

from dataclasses import dataclass
from typing import Any, Final, get_args

import torch
from torch import Tensor

from fer_core.losses.choice import build
from fer_core.losses.objective import LossConfig, LossKind, Objective

torch.set_num_threads(1)

KINDS: Final[tuple[LossKind, ...]] = get_args(LossKind)
EMBEDDING: Final = 6


@dataclass(frozen=True, slots=True)
class Case:
    """What a loss is called with."""

    embeddings: Tensor
    centers: Tensor
    targets: Tensor
    weights: Tensor


def case(batch: int, classes: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Case:
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(batch, EMBEDDING, generator=generator, dtype=torch.float64)
    centers = torch.randn(classes, EMBEDDING, generator=generator, dtype=torch.float64)
    targets = torch.rand(batch, classes, generator=generator, dtype=torch.float64)
    weights = torch.rand(batch, generator=generator, dtype=torch.float64)
    return Case(embeddings.to(dtype), centers.to(dtype), (targets / targets.sum(1, keepdim=True)).to(dtype), weights.to(dtype))


def loss_of(kind: LossKind, classes: int, scale: float = 8.0, dtype: torch.dtype = torch.float64, **numbers: Any) -> Objective:
    """A loss whose own parameters are the same each time."""
    torch.manual_seed(7)
    return build(LossConfig(kind, **numbers), scale, classes, EMBEDDING).to(dtype)


def simplex(count: int) -> Tensor:
    """(K, K) K directions, each pair at cosine -1 / (K - 1)."""
    return torch.eye(count, dtype=torch.float64) - 1 / count
