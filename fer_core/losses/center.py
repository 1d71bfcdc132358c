"""Center loss (Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016).

With embedding x, classifier rows w_k, class bias b_k (0 without one), targets t_k and a learned mean mu_k of each class's embeddings:

    L = - sum_k t_k log softmax_k(w_k x + b_k) + lambda / 2 sum_k t_k |x - mu_k|^2

The paper has one-hot targets; soft ones are the expected loss over a rater drawn at random, so a face on which raters are split is pulled
towards the mixture sum_k t_k mu_k.

Weight: embeddings leave a batch norm, so |x|^2 is about D = 256 until the norm's own scale shrinks it. With the usual lambda of 0.01 the
second term is about 2.6 against untrained means and 1.3 against means at 0; the cross-entropy of eight classes is 2.1 before training:
the same order.

Means: the paper moves them at a rate of their own, whatever lambda is. In plain gradient descent lambda would be a factor of every step,
and the means of rare classes would never arrive. So the parameter is u_k = sqrt(lambda) mu_k and the second term is
1/2 sum_k t_k |sqrt(lambda) x - u_k|^2: the same value, and a step covers the learning rate times the share of class k of the way. Means
start at random and as long as embeddings are. Weight decay on them would pull faces towards 0; leave it off.
"""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fer_core.losses.cross_entropy import cross_entropy
from fer_core.losses.objective import Classifier, LossConfig, Objective, full


class CenterLoss(Objective):
    """See the module's text. `config.compactness` is lambda."""

    classifier: ClassVar[Classifier] = "linear"

    def __init__(self, config: LossConfig, scale: float, classes: int, embedding: int) -> None:
        super().__init__(config, scale, classes, embedding)
        self.root = math.sqrt(config.compactness)
        self.scaled_means = nn.Parameter(self.root * torch.randn(classes, embedding))
        """(K, D) class means times the root of lambda."""

    def of_faces(self, embeddings: Tensor, centers: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, D), (K, D), (B, K), (K,) -> (B,)."""
        away = self.root * embeddings.unsqueeze(1) - full(self.scaled_means)  # (B, K, D)
        pull = (targets * away.square().sum(2)).sum(1) / 2
        return cross_entropy(F.linear(embeddings, centers, bias), targets) + pull
