"""Center cosine loss: faces of one expression close to one direction, the directions far apart.

Our reading of the abstract (doi 10.1088/1361-6501/ad191c). With unit embedding e, learnable unit centers c_k, targets t_k >= 0 that sum to
1 (one-hot or the share of raters), scale s and margin m:

    L = - sum_k t_k log softmax_k( s (cos(e, c_k) - m t_k) + b_k )        large cosine margin (CosFace for one-hot targets)
        + a sum_k t_k (1 - cos(e, c_k))                                    compactness
        + b mean_{i<j} max(0, cos(c_i, c_j) + 1 / (K - 1))^2               separation: K centers cannot all be further apart

Soft targets: the margin is weighted by the target, so that a face on which raters are split is not asked to beat every class at once; the
compactness is the expectation over raters. What s and m may be is in `bounds`.

b_k is 0 or, in a network with a class bias, learned from the log prior on: what is known of a class before its face is seen. Without it
the embedding's norm, or the centers' position, learns the prior, where it cannot be scaled or left out afterwards.
"""

from typing import ClassVar

from torch import Tensor

from fer_core.losses.bounds import check
from fer_core.losses.cross_entropy import cross_entropy
from fer_core.losses.directions import cosines, pair_cosines
from fer_core.losses.objective import Classifier, LossConfig, Objective


class CenterCosineLoss(Objective):
    """See the module's text. m, a and b are the config's margin, compactness and separation. ValueError: s or m out of bounds."""

    classifier: ClassVar[Classifier] = "cosine"

    def __init__(self, config: LossConfig, scale: float, classes: int, embedding: int) -> None:
        super().__init__(config, scale, classes, embedding)
        check(scale, config.margin, classes)

    def of_faces(self, embeddings: Tensor, centers: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, D), (K, D), (B, K), (K,) -> (B,)."""
        cos = cosines(embeddings, centers)
        logits = self.scale * (cos - self.margin * targets)
        fit = cross_entropy(logits if bias is None else logits + bias, targets)
        return fit + self.config.compactness * (targets * (1 - cos)).sum(1)

    def of_classes(self, centers: Tensor) -> Tensor:
        """(K, D) -> scalar."""
        return self.config.separation * separation(centers)


def separation(centers: Tensor) -> Tensor:
    """(K, D) -> scalar: mean squared excess of the pairwise cosines over -1 / (K - 1), the best K equidistant directions reach."""
    count = len(centers)
    if count < 2:
        return centers.new_zeros(())
    return (pair_cosines(centers) + 1 / (count - 1)).clamp_min(0).square().mean()
