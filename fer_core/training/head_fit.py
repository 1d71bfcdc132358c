"""The head of a cosine classifier, refitted to a few labelled faces: class centers and class bias, drawn to those of a starting model.

With unit vectors e of faces, unit centers c_k = unit(c_k0 + d_k), scale s, class bias b_k = b_k0 + s f_k, class prior p of the starting
model's training, its temperature T under the prior `balanced`, and shares q of the expressions among the faces, this is minimised:

    sum over faces of -log softmax((s e c + b - log p) / T + log q)[true class]  +  pull (|d|^2 + |f|^2)

Without q the head would learn how often an expression is among the labelled faces, which depends on their selection.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fer_core.losses.directions import unit
from fer_core.models.network import MultiscaleNet
from fer_core.models.prior import SMALLEST_SHARE

PULL: Final = 50.0
"""Weight of the distance to the start. From 10 to 300 the figures differ little; less costs with 35 labels, more with 200."""
STEPS: Final = 200
AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What tells the expressions apart, given the vectors of faces."""

    centers: NDArray[np.float64]
    """(8, D) unit vectors."""
    bias: NDArray[np.float64]
    """(8,) added to the logits."""
    scale: float
    """By which cosines are multiplied."""

    def logits(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, D) of `face_vectors` -> (N, 8)."""
        return np.asarray(self.scale * vectors @ self.centers.T + self.bias, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """How a model's logits become evidence."""

    bias: NDArray[np.float64]
    """(8,) class prior of training, taken off."""
    temperature: float
    """Divides what is left."""


def head_of(network: MultiscaleNet) -> Head:
    """The head of a network with a cosine classifier."""
    centers = unit(network.centers.detach().double()).numpy()
    bias = np.zeros(len(centers)) if network.class_bias is None else network.class_bias.detach().double().numpy()
    return Head(centers, bias, network.config.logit_scale)


def face_vectors(network: MultiscaleNet, crops: NDArray[np.uint8], flip: bool) -> NDArray[np.float64]:
    """(N, 112, 112) luma -> (N, D) unit vectors of the faces; with `flip` the mean of a face's and its mirror image's.

    Cosines are linear in them, so that the logits of the mean are the mean of both views' logits.
    """
    parts = [np.zeros((0, network.config.embedding))]
    with torch.inference_mode():
        for start in range(0, len(crops), AT_ONCE):
            faces = torch.from_numpy(crops[start : start + AT_ONCE]).float().unsqueeze(1)
            views = [faces, faces.flip(-1)] if flip else [faces]
            parts.append(torch.stack([unit(network(view).double()) for view in views]).mean(0).numpy())
    return np.concatenate(parts)


def sample_shares(classes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """(count,) shares of the classes (N,), none below `SMALLEST_SHARE`."""
    return np.asarray(np.maximum(np.bincount(classes, minlength=count) / len(classes), SMALLEST_SHARE), np.float64)


def fit_head(start: Head, evidence: Evidence, vectors: NDArray[np.float64], classes: NDArray[np.int64], pull: float = PULL) -> Head:
    """vectors (N, D) of faces of true classes (N,) -> the refitted head. The same faces in the same order give the same head."""
    features, truth, centers = torch.from_numpy(vectors), torch.from_numpy(classes), torch.from_numpy(start.centers)
    added = torch.from_numpy(np.log(sample_shares(classes, len(start.bias))))
    known = torch.from_numpy(start.bias - evidence.bias)
    moved = torch.zeros_like(centers, requires_grad=True)
    lifted = torch.zeros(len(centers), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([moved, lifted], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        logits = start.scale * (features @ unit(centers + moved).T + lifted) + known
        away = moved.square().sum() + lifted.square().sum()
        loss = F.cross_entropy(logits / evidence.temperature + added, truth) + pull / len(classes) * away
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return Head(unit(centers + moved).numpy(), start.bias + start.scale * lifted.numpy(), start.scale)
