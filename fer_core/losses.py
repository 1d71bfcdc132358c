"""Center cosine loss: faces of one expression close to one direction, the directions far apart.

Our reading of the abstract (doi 10.1088/1361-6501/ad191c). With unit embedding e, unit class centers c_k, targets t_k >= 0 that sum to 1
(one-hot or the share of raters), scale s and margin m:

    L = - sum_k t_k log softmax_k( s (cos(e, c_k) - m t_k) )              large cosine margin (CosFace for one-hot targets)
        + a sum_k t_k (1 - cos(e, c_k))                                    compactness
        + b mean_{i<j} max(0, cos(c_i, c_j) + 1 / (K - 1))^2               separation: K centers cannot all be further apart

The margin is weighted by the target, so that a face on which raters are split is not asked to beat every class at once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the center cosine loss."""

    margin: float = 0.1
    """m, in cosine. Useful below (K / (K - 1)) / 1: the cosine gap of two equidistant centers is K / (K - 1)."""
    compactness: float = 0.5
    """a."""
    separation: float = 1.0
    """b."""


class CenterCosineLoss(nn.Module):
    """See the module's text."""

    def __init__(self, scale: float, config: LossConfig) -> None:
        super().__init__()
        self.scale, self.config = scale, config

    def forward(self, cosines: Tensor, centers: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """(B, K) cosines, (K, D) centers of any length, (B, K) targets that sum to 1, optional (B,) weights -> scalar."""
        margins = self.config.margin * targets
        log_p = F.log_softmax(self.scale * (cosines - margins), dim=1)
        each = -(targets * log_p).sum(1) + self.config.compactness * (targets * (1 - cosines)).sum(1)
        fitted = each.mean() if weights is None else (each * weights).sum() / weights.sum().clamp_min(1e-12)
        return fitted + self.config.separation * separation(centers)


def separation(centers: Tensor) -> Tensor:
    """(K, D) -> scalar: mean squared excess of the pairwise cosines over -1 / (K - 1), the best K equidistant directions reach."""
    count = len(centers)
    if count < 2:
        return centers.new_zeros(())
    unit = F.normalize(centers)
    pairs = torch.triu_indices(count, count, 1, device=centers.device)
    cosines = (unit @ unit.T)[pairs[0], pairs[1]]
    return (cosines + 1 / (count - 1)).clamp_min(0).square().mean()
