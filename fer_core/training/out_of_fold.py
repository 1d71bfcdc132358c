"""Probabilities of faces from heads that did not learn from them: multinomial logistic regression on a network's frozen vectors.

Whole groups are held out in turn. The head starts from nothing, so the labels that it is to check reach a face by the network's features at
most: those of a network that was trained on the same labels carry some of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fer_core.errors import TrainingError
from fer_core.models.calibration import softmax
from fer_core.training.head_validation import folds

SCALE: Final = 16.0
"""Vectors of length 1 are multiplied by it."""
DECAY: Final = 1.0
"""Weight of the squared coefficients beside the summed log loss, halved. Of 0.1 to 100 the one of least log loss on held-out faces of
muxspace: 0.608, against 0.619 at 0.1 and 0.635 at 100."""
STEPS: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class FoldPlan:
    """How N faces are held out."""

    groups: Sequence[str]
    """(N,) units that are never divided."""
    pictures: Sequence[str]
    """(N,) digests: a copy of a held-out picture is left out of the training faces, whatever its group."""
    folds: int
    seed: int
    """Which groups go together."""


def out_of_fold(vectors: NDArray[np.float64], classes: NDArray[np.int64], count: int, plan: FoldPlan) -> NDArray[np.float64]:
    """(N, D) unit vectors of faces labelled (N,) classes of `count` -> (N, count) probabilities. TrainingError: fewer than two groups."""
    fold = folds(plan.groups, plan.folds, str(plan.seed))
    numbers = np.unique(fold)
    if len(numbers) < 2:
        raise TrainingError("cross-validation takes faces of at least two groups (persons or pictures)")
    pictures = np.unique(np.array(plan.pictures), return_inverse=True)[1]
    out = np.empty((len(classes), count))
    for number in numbers:
        held = fold == number
        learned = ~held & ~np.isin(pictures, pictures[held])
        weights, bias = fit_logistic(SCALE * vectors[learned], classes[learned], count)
        out[held] = softmax(SCALE * vectors[held] @ weights.T + bias)
    return out


def fit_logistic(
    features: NDArray[np.float64], classes: NDArray[np.int64], count: int, decay: float = DECAY
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, D), (N,) -> coefficients (count, D) and bias (count,) of least summed log loss + decay / 2 |coefficients|^2. No draws."""
    inputs, truth = torch.from_numpy(features), torch.from_numpy(classes)
    weights = torch.zeros(count, features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        # of the mean, so that the optimiser's tolerances mean the same for few and many faces
        loss = F.cross_entropy(inputs @ weights.T + bias, truth) + decay / 2 * weights.square().sum() / max(len(classes), 1)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's annotation lacks it
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch's annotation lacks it
    return weights.detach().numpy(), bias.detach().numpy()
