"""Large margin cosine loss (Wang et al., "CosFace", CVPR 2018).

With unit embedding e, unit centers c_k, targets t_k, scale s and margin m (and s cos + b_k for s cos where the network has a class bias):

    L = - sum_k t_k log( exp s(cos(e, c_k) - m) / (exp s(cos(e, c_k) - m) + sum_{j != k} exp s cos(e, c_j)) )

The paper has one-hot targets. Soft ones are the expected loss over a rater drawn at random: each answer asks for the whole margin, against
the other raters' answers too (the center cosine loss weighs the margin by the share instead). The usual margin is the paper's for faces,
0.35; what limits it and the scale is in `bounds`.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fer_core.losses.bounds import check
from fer_core.losses.directions import cosines
from fer_core.losses.objective import Classifier, LossConfig, Objective


class CosFaceLoss(Objective):
    """See the module's text. `config.margin` is m. ValueError: a scale or margin out of bounds."""

    classifier: ClassVar[Classifier] = "cosine"

    def __init__(self, config: LossConfig, scale: float, classes: int, embedding: int) -> None:
        super().__init__(config, scale, classes, embedding)
        check(scale, config.margin, classes)

    def of_faces(self, embeddings: Tensor, centers: Tensor, targets: Tensor, bias: Tensor | None = None) -> Tensor:
        """(B, D), (K, D), (B, K), (K,) -> (B,)."""
        cos = cosines(embeddings, centers)
        margins = torch.eye(len(centers), dtype=cos.dtype, device=cos.device)
        logits = self.scale * (cos.unsqueeze(1) - self.margin * margins)  # (B, K, K): row k as if class k were the answer; small, K is 8
        log_p = F.log_softmax(logits if bias is None else logits + bias, dim=2).diagonal(dim1=1, dim2=2)
        return -(targets * log_p).sum(1)
