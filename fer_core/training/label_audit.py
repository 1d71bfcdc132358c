"""Label-error candidates of a face set: the labels that a model, or heads trained on the other faces, confidently contradict."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FaceSetError
from fer_core.evaluation.confident_learning import (
    ConfidentJoint,
    candidates,
    confident_joint,
    error_share_interval,
    margin,
    self_confidence,
)
from fer_core.evaluation.evaluate import FACES_AT_ONCE, Protocol, argmax_classes, majority_classes
from fer_core.evaluation.intervals import wilson
from fer_core.faceset import FaceSetCard, FaceSplit, faceset_digest, join, read_card, read_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.card import ModelRef


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """What is audited, and by which probabilities."""

    splits: tuple[str, ...] = ()
    """None: all of the set."""
    protocol: Protocol = "majority"
    """Turns votes into a label."""
    folds: int | None = None
    """Heads on the model's frozen features, each for faces that it did not learn from. None: the model's own probabilities."""
    seed: int = 0
    """Of the folds."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A face whose label is probably wrong."""

    split: str
    row: int
    """Number of the face in its split's file."""
    sample_id: str
    given: str
    likely: str
    """The class in which confident learning counts the face."""
    predicted: str
    """The most probable class."""
    self_confidence: float
    """Probability of the given label."""
    margin: float
    """Probability of the given label less the largest of the others."""
    probabilities: tuple[float, ...]
    """In the order of `labels.EXPRESSIONS`."""


@dataclass(frozen=True, slots=True)
class ClassAudit:
    """Faces with one label."""

    faces: int
    candidates: int
    error_share: float
    """Estimated share of wrong labels among them."""


@dataclass(frozen=True, slots=True)
class LabelAudit:
    """What was found. K classes of the set, in the order of `labels.EXPRESSIONS`."""

    digest: str
    """Of the face set."""
    splits: tuple[str, ...]
    trained_on: tuple[str, ...]
    """Audited splits that the model was trained on, by its card: it has learned their labels, wrong ones too, and finds fewer."""
    faces: int
    without_label: int
    """Faces that the protocol gives no label; they are not audited."""
    agreement: float
    """Share of the labels that the most probable class repeats."""
    agreement_interval: tuple[float, float]
    error_share: float
    """Estimated share of wrong labels."""
    error_interval: tuple[float, float]
    classes: tuple[str, ...]
    confident_joint: tuple[tuple[int, ...], ...]
    """(K, K) faces: rows are the given label, columns the likely class."""
    joint: tuple[tuple[float, ...], ...]
    """(K, K) estimated shares of given label and true class, of sum 1."""
    per_class: dict[str, ClassAudit]
    found: tuple[Candidate, ...]
    """All candidates, the least self-confidence first."""


def audit_labels(
    folder: Path, model: ModelRef, asked: AuditRequest, on_done: Callable[[str, int, int], None] = lambda doing, done, total: None
) -> LabelAudit:
    """Read the set and compare its labels with probabilities. FaceSetError: no such split, no labelled face, or one class alone.

    on_done: called with what is being done, the number of faces done and of all.
    """
    card = read_card(folder)
    splits = asked.splits or tuple(card.counts)
    parts = [read_split(folder, split, luma=True) for split in splits]
    places = [(split, row) for split, part in zip(splits, parts, strict=True) for row in range(len(part))]
    everything = join(parts)
    del parts
    labels, kept = majority_classes(everything.votes, everything.kind) if asked.protocol == "majority" else argmax_classes(everything.votes)
    faces, columns = everything.take(kept), [EXPRESSIONS.index(name) for name in everything.classes]
    if not len(faces) or len(columns) < 2:
        raise FaceSetError(f"an audit takes labelled faces of at least two expressions: {folder}")
    place = np.full(len(EXPRESSIONS), -1)
    place[columns] = np.arange(len(columns))
    inside = _of_folds(model, faces, place[labels], asked, on_done) if asked.folds else _of_model(model, faces, columns, on_done)
    return _audit(folder, card, model, [places[row] for row in kept], len(everything) - len(kept), faces, inside, place[labels], splits)


def trained_splits(card: FaceSetCard, digest: str, model: dict[str, Any]) -> tuple[str, ...]:
    """Splits of a face set that a model was trained on, as its card says: by the digest of the set, or of the split's file in another.

    A set that was aligned again has other digests and is not recognised.
    """
    tuned = model.get("tuned") or {}
    whole = [
        *(model.get("sources") or {}).get("facesets", []),
        *(model.get("sources") or {}).get("prevailing", []),
        *tuned.get("facesets", []),
    ]
    files = [
        entry.get("digests", {}).get("train") for entry in [*model.get("trained_on", []), *tuned.get("on", [])] if isinstance(entry, dict)
    ]
    return ("train",) if "train" in card.counts and (digest in whole or card.digests.get("train") in [*filter(None, files)]) else ()


def _of_model(model: ModelRef, faces: FaceSplit, columns: list[int], on_done: Callable[[str, int, int], None]) -> NDArray[np.float64]:
    """(N, K) the model's own."""
    from fer_core.predict.predictor import Predictor

    predictor, parts = Predictor(model), []
    for start in range(0, len(faces), FACES_AT_ONCE):
        parts.append(predictor.probabilities(faces.crops[start : start + FACES_AT_ONCE])[:, columns])
        on_done("scored faces", min(start + FACES_AT_ONCE, len(faces)), len(faces))
    inside = np.concatenate(parts)
    return np.asarray(inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-12), np.float64)


def _of_folds(
    model: ModelRef, faces: FaceSplit, labels: NDArray[np.int64], asked: AuditRequest, on_done: Callable[[str, int, int], None]
) -> NDArray[np.float64]:
    """(N, K) of heads that did not learn from the face's group."""
    from fer_core.models.store import load_model
    from fer_core.training.head_fit import face_vectors
    from fer_core.training.out_of_fold import FoldPlan, out_of_fold

    network, spec = load_model(model)
    parts = []
    for start in range(0, len(faces), FACES_AT_ONCE):
        parts.append(face_vectors(network, faces.crops[start : start + FACES_AT_ONCE], spec.flip))
        on_done("read features of faces", min(start + FACES_AT_ONCE, len(faces)), len(faces))
    plan = FoldPlan(faces.groups, faces.pictures, asked.folds or 0, asked.seed)
    return out_of_fold(np.concatenate(parts), labels, len(faces.classes), plan)


def _audit(  # noqa: PLR0917  (a table of plain values)
    folder: Path,
    card: FaceSetCard,
    model: ModelRef,
    places: list[tuple[str, int]],
    without_label: int,
    faces: FaceSplit,
    inside: NDArray[np.float64],
    labels: NDArray[np.int64],
    splits: tuple[str, ...],
) -> LabelAudit:
    found, digest = confident_joint(inside, labels), faceset_digest(folder)
    numbers = candidates(found, inside, labels)
    right = inside.argmax(axis=1) == labels
    low, high = wilson(np.array([right.sum()]), np.array([len(right)]))
    return LabelAudit(
        digest=digest,
        splits=splits,
        trained_on=tuple(split for split in trained_splits(card, digest, model.card) if split in splits),
        faces=len(labels),
        without_label=without_label,
        agreement=float(right.mean()),
        agreement_interval=(float(low[0]), float(high[0])),
        error_share=found.error_share,
        error_interval=error_share_interval(inside, labels),
        classes=faces.classes,
        confident_joint=tuple(tuple(int(count) for count in row) for row in found.counts),
        joint=tuple(tuple(round(float(share), 6) for share in row) for row in found.joint),
        per_class=_per_class(found, faces.classes, labels, numbers),
        found=tuple(_candidate(faces, places, found, inside, labels, int(number)) for number in numbers),
    )


def _per_class(
    found: ConfidentJoint, classes: tuple[str, ...], labels: NDArray[np.int64], numbers: NDArray[np.intp]
) -> dict[str, ClassAudit]:
    faces, off = (np.bincount(values, minlength=len(classes)) for values in (labels, labels[numbers]))
    rows = zip(classes, faces, off, found.error_shares, strict=True)
    return {name: ClassAudit(int(count), int(wrong), float(share)) for name, count, wrong, share in rows}


def _candidate(  # noqa: PLR0917  (a table of plain values)
    faces: FaceSplit,
    places: list[tuple[str, int]],
    found: ConfidentJoint,
    inside: NDArray[np.float64],
    labels: NDArray[np.int64],
    number: int,
) -> Candidate:
    one, own = inside[[number]], labels[[number]]
    by_name = dict(zip(faces.classes, one[0].tolist(), strict=True))
    return Candidate(
        split=places[number][0],
        row=places[number][1],
        sample_id=faces.ids[number],
        given=faces.classes[int(own[0])],
        likely=faces.classes[int(found.likely[number])],
        predicted=faces.classes[int(one[0].argmax())],
        self_confidence=float(self_confidence(one, own)[0]),
        margin=float(margin(one, own)[0]),
        probabilities=tuple(round(by_name.get(name, 0.0), 4) for name in EXPRESSIONS),
    )
