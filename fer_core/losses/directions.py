"""Unit vectors and the cosines between them."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

_NO_LENGTH: Final = 1e-12


def unit(vectors: Tensor) -> Tensor:
    """(N, D) -> each row at length 1.

    A row of no length (1e-12 at most) has no direction: it becomes 0 and its gradient is 0. Divided by a small number instead, its gradient
    would be 1e12 long, and after clipping the only one in its batch.
    """
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return torch.where(lengths > _NO_LENGTH, vectors / lengths.clamp_min(_NO_LENGTH), 0.0)


def cosines(vectors: Tensor, others: Tensor) -> Tensor:
    """(N, D), (M, D) -> (N, M); 0 where either has no length."""
    return F.linear(unit(vectors), unit(others))


def pair_cosines(vectors: Tensor) -> Tensor:
    """(N, D) -> (N (N - 1) / 2,): each pair once."""
    first, second = torch.triu_indices(len(vectors), len(vectors), 1, device=vectors.device)
    return cosines(vectors, vectors)[first, second]
