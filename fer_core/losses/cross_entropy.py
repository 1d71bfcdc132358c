"""Cross-entropy of a plain linear classifier: the first baseline.

With embedding x, classifier rows w_k and targets t_k:

    L = - sum_k t_k log softmax_k(w_k x + b_k)

Neither side is normalised and there is no scale: the lengths of x and w_k are learned; so is the bias b_k where the network has one. Soft
targets are the formula itself, the expected loss over a rater drawn at random.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from fer_core.losses.objective import Classifier, Objective


class CrossEntropyLoss(Objective):
    """See the module's text. None of the config's numbers is used."""

    classifier: ClassVar[Classifier] = "linear"

    def of_faces(self, embeddings: Tensor, centers: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, D), (K, D), (B, K), (K,) -> (B,)."""
        return cross_entropy(F.linear(embeddings, centers, bias), targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, K), (B, K) rows of sum 1 -> (B,)."""
    return -(targets * F.log_softmax(logits, dim=1)).sum(1)
