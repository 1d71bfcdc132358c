"""Faces in memory: one split of one set, or several sets joined; a part held back; targets for training."""

import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FaceSetError
from fer_core.faceset.schema import Kind
from fer_core.labels import EXPRESSIONS
from fer_core.types import CROP_SIZE

UNANIMOUS: Final = 10
"""A single label counts as this many unanimous raters, so that the rules for votes apply to joined sets, too."""


def _left_out() -> NDArray[np.bool_]:
    return np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True)
class FaceSplit:
    """N faces. The last three may be left out: then they follow from `groups`, `kind` and `classes`."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """Units that are never divided between splits: identity or, where it is not known, the picture."""
    crops: NDArray[np.uint8]
    """(N, 112, 112) luma where every face is grey or luma was requested, else (N, 112, 112, 3) RGB."""
    votes: NDArray[np.float32]
    """(N, 10) raters by `VOTE_COLUMNS`; for single labels `UNANIMOUS` at the label."""
    kind: Kind
    """`single` where every face has one label, else `votes`."""
    classes: tuple[str, ...]
    """Expressions that can occur, in the order of `labels.EXPRESSIONS`."""
    pictures: tuple[str, ...] = ()
    """Digest of each face's original pixels."""
    single: NDArray[np.bool_] = field(default_factory=_left_out)
    """(N,) whether the face has one label instead of votes."""
    known: NDArray[np.bool_] = field(default_factory=_left_out)
    """(N, 8) the expressions that the face's set distinguishes: no face of RAF-DB can be labelled contempt."""

    def __post_init__(self) -> None:
        count = len(self.ids)
        if not self.pictures:
            object.__setattr__(self, "pictures", self.groups)
        if not len(self.single):
            object.__setattr__(self, "single", np.full(count, self.kind == "single"))
        if not len(self.known):
            object.__setattr__(self, "known", np.tile([name in self.classes for name in EXPRESSIONS], (count, 1)))
        lengths = [len(column) for column in (self.groups, self.crops, self.votes, self.pictures, self.single, self.known)]
        if set(lengths) - {count}:
            raise ValueError(f"the columns of {count} faces disagree: {lengths}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: NDArray[np.intp]) -> "FaceSplit":
        """The faces at `index`, in that order."""
        ids, groups, pictures = (tuple(values[i] for i in index) for values in (self.ids, self.groups, self.pictures))
        single, known = self.single[index], self.known[index]
        return FaceSplit(ids, groups, self.crops[index], self.votes[index], self.kind, self.classes, pictures, single, known)


def join(splits: Sequence[FaceSplit], held_out: AbstractSet[str] = frozenset()) -> FaceSplit:
    """Several sets' faces as one, in that order. held_out: picture digests of faces to be scored on; faces that show them are left out.

    Kinds may differ (see `single`), and so may the classes (see `known`). One coloured split makes all RGB. Needs the memory of the result
    beside that of the parts.
    """
    if not splits:
        raise FaceSetError("there is no face set to join")
    kept = [np.array([i for i, picture in enumerate(split.pictures) if picture not in held_out], np.intp) for split in splits]
    if len(splits) == 1 and len(kept[0]) == len(splits[0]):
        return splits[0]
    pairs = list(zip(splits, kept, strict=True))
    ids = tuple(split.ids[i] for split, index in pairs for i in index)
    groups = tuple(split.groups[i] for split, index in pairs for i in index)
    pictures = tuple(split.pictures[i] for split, index in pairs for i in index)
    crops = _joined_crops([split.crops for split in splits], kept)
    votes = np.concatenate([split.votes[index] for split, index in pairs])
    single = np.concatenate([split.single[index] for split, index in pairs])
    known = np.concatenate([split.known[index] for split, index in pairs])
    kind: Kind = "single" if all(split.kind == "single" for split in splits) else "votes"
    classes = tuple(name for name in EXPRESSIONS if any(name in split.classes for split in splits))
    return FaceSplit(ids, groups, crops, votes, kind, classes, pictures, single, known)


def _joined_crops(crops: Sequence[NDArray[np.uint8]], kept: Sequence[NDArray[np.intp]]) -> NDArray[np.uint8]:
    """Grey where all are, else RGB."""
    grey = all(part.ndim == 3 for part in crops)
    shape = (sum(map(len, kept)), CROP_SIZE, CROP_SIZE)
    out, start = np.empty(shape if grey else (*shape, 3), np.uint8), 0
    for part, index in zip(crops, kept, strict=True):
        out[start : start + len(index)] = part[index] if grey or part.ndim == 4 else part[index][..., None]
        start += len(index)
    return out


def carve_dev(split: FaceSplit, share: float, salt: str = "") -> tuple[FaceSplit, FaceSplit]:
    """Part `share` of the groups off as a development part; which ones depends on the groups' names alone.

    salt: draws others; a set whose own splits were drawn by the digest of the groups needs one.

    Returns (rest, dev). No group and no picture is in both. Of copies of a picture dev keeps the first, so that none is counted twice.
    """
    limit = int(share * 2**32)
    drawn = [int(hashlib.sha256((salt + group).encode()).hexdigest()[:8], 16) < limit for group in split.groups]
    first: dict[str, int] = {}
    for index, (picture, inside) in enumerate(zip(split.pictures, drawn, strict=True)):
        if inside:
            first.setdefault(picture, index)
    rest = [i for i, (picture, inside) in enumerate(zip(split.pictures, drawn, strict=True)) if not inside and picture not in first]
    return split.take(np.array(rest, np.intp)), split.take(np.array(list(first.values()), np.intp))


def vote_targets(
    votes: NDArray[np.float32], kind: Kind | NDArray[np.bool_], smoothing: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Vote counts -> targets and weights of the faces.

    votes: (N, 10). kind: of all faces, or (N,) whether each has a single label (`FaceSplit.single`). smoothing: in [0, 1), mass that single
    labels spread evenly over the eight expressions (Szegedy et al., CVPR 2016); votes are spread by their raters already.

    Returns targets (N, 8), rows of sum 1 (uniform without a vote for an expression), and weights (N,) in [0, 1]: the share of raters
    who saw an expression at all, 0 where none did. Single votes are noise and dropped where others agree (FER+).
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is not in [0, 1): {smoothing}")
    single = np.full(len(votes), kind == "single") if isinstance(kind, str) else kind
    expressions = votes[:, : len(EXPRESSIONS)].copy()
    agreed = np.where(expressions > 1, expressions, 0)
    settled = ~single & (agreed.sum(1) > 0)
    expressions = np.where(settled[:, None], agreed, expressions)
    total = expressions.sum(1, keepdims=True)
    targets = np.where(total > 0, expressions / np.maximum(total, 1), 1 / len(EXPRESSIONS))
    spread = np.where(single, smoothing, 0)[:, None]
    targets = (1 - spread) * targets + spread / len(EXPRESSIONS)
    weights = np.where(total[:, 0] > 0, votes[:, : len(EXPRESSIONS)].sum(1) / np.maximum(votes.sum(1), 1), 0)
    return targets.astype(np.float32), weights.astype(np.float32)
