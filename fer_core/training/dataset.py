"""Face sets as tensors for training."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_core.faceset import FaceSplit, vote_targets


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Faces to train on. N of them."""

    faces: Tensor
    """(N, 1, 112, 112) uint8 luma."""
    targets: Tensor
    """(N, 8) float32, rows of sum 1."""
    weights: Tensor
    """(N,) float32 how much each face counts."""
    skip_teacher: Tensor
    """(N,) bool: faces whose targets no teacher changes."""
    pictures: tuple[str, ...] = ()
    """Digests of the N pictures, for teachers that know those."""

    def __len__(self) -> int:
        return len(self.weights)

    def to(self, device: torch.device) -> Self:
        """All of it on the device: 12.5 KB a face."""
        faces, targets, weights, skipped = (part.to(device) for part in (self.faces, self.targets, self.weights, self.skip_teacher))
        return type(self)(faces, targets, weights, skipped, self.pictures)


def training_data(split: FaceSplit, smoothing: float, balance: float, skip_teacher: Collection[str] = frozenset()) -> TrainingData:
    """Faces with a vote for an expression. See `TrainConfig` for smoothing and balance.

    skip_teacher: pictures whose targets no teacher changes.
    """
    targets, weights = vote_targets(split.votes, split.single, smoothing)
    kept = np.flatnonzero(weights > 0)
    crops = split.crops if len(kept) == len(split) else split.crops[kept]  # a copy would be gigabytes
    return TrainingData(
        torch.from_numpy(crops).unsqueeze(1),
        torch.from_numpy(targets[kept]),
        torch.from_numpy(balanced(targets[kept], weights[kept], balance)),
        torch.tensor([split.pictures[i] in skip_teacher for i in kept], dtype=torch.bool),
        tuple(split.pictures[i] for i in kept),
    )


def balanced(targets: NDArray[np.float32], weights: NDArray[np.float32], power: float) -> NDArray[np.float32]:
    """Weights (N,) raised for faces of rare classes, their mean kept.

    A face counts by the mean over its targets (N, 8) of (mean share / class's share)^power; classes without a face do not count.
    """
    shares = (targets * weights[:, None]).sum(0) / max(float(weights.sum()), 1e-12)
    present = shares > 0
    factor = np.where(present, (1 / max(1, int(present.sum())) / np.where(present, shares, 1)) ** power, 0)
    raised = weights * (targets @ factor)
    return np.asarray(raised * (weights.sum() / max(float(raised.sum()), 1e-12)), np.float32)


def distill(own: TrainingData, answers: Sequence[NDArray[np.float64]], part: float) -> TrainingData:
    """Targets mixed with the teachers' answers: `part` of them is the mean of all that have one for the face.

    Raters disagree and are few; a trained model has seen all their votes at once (Hinton et al., 2015; Furlanello et al., ICML 2018).
    Faces of `skip_teacher` keep their targets: people reviewed them because a model may be wrong there. answers: (N, 8) each, see
    `teacher.Teacher`.
    """
    if not answers:
        return own
    given = np.stack(answers)
    known = ~np.isnan(given[..., 0])
    said = np.where(known[..., None], given, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)[:, None]
    silent = own.skip_teacher | torch.from_numpy(~known.any(axis=0))
    parts = torch.where(silent, 0.0, part)[:, None]
    return replace(own, targets=(1 - parts) * own.targets + parts * torch.from_numpy(said).float())
