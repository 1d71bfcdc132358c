"""Score a model on a face set by the field's protocols."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FaceSetError, UsageError
from fer_core.evaluation.confusion import confusion_figures, confusion_matrix
from fer_core.evaluation.intervals import bootstrap_intervals
from fer_core.evaluation.risk_coverage import RiskCoverage, risk_coverage
from fer_core.evaluation.slices import SliceFigures, Slicing, crop_slicings, slice_figures
from fer_core.faceset import FaceSplit, Kind, read_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import ReliabilityBins, reliability_bins

Protocol = Literal["majority", "argmax"]

FACES_AT_ONCE: Final = 512
"""Scored between two calls of `on_scored`. The result of a face does not depend on the others."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one model on one split. K classes of the set, in the order of `labels.EXPRESSIONS`."""

    n: int
    accuracy: float
    balanced_accuracy: float
    """Mean recall over the classes that occur."""
    macro_f1: float
    """Mean F1 over the classes that occur."""
    ece: float
    per_class: dict[str, dict[str, float]]
    """precision, recall, f1 and support by class."""
    confusion: tuple[tuple[int, ...], ...]
    """(K, K) faces: rows are the true class, columns the predicted one."""
    classes: tuple[str, ...]
    absent_ids: int
    """Ids of `only` that the split does not have."""
    reliability: ReliabilityBins
    """Accuracy against confidence, what `ece` sums up."""
    risk_coverage: RiskCoverage
    """What `aurc` sums up."""
    aurc: float
    """Area under it: mean risk over all coverages."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap interval of each of `intervals.FIGURES`; empty where none was asked for."""
    slices: tuple[SliceFigures, ...] = ()
    """The same by what the crops show; empty where they were not asked for."""


def majority_classes(votes: NDArray[np.float32], kind: Kind) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """FER+'s majority protocol: (classes, rows kept) for (N, 10) votes.

    Single votes count as none; a face stays only if the largest count is over half of what remains and is one of the eight expressions.
    """
    if kind == "single":
        return argmax_classes(votes)
    agreed = np.where(votes > 1, votes, 0)
    best = agreed.argmax(axis=1)
    largest = agreed.max(axis=1, initial=0)
    kept = np.flatnonzero((2 * largest > agreed.sum(axis=1)) & (best < len(EXPRESSIONS)))
    return best[kept].astype(np.int64), kept


def argmax_classes(votes: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The largest of the eight expression votes, ties to the first; faces without any such vote are dropped."""
    expressions = votes[:, : len(EXPRESSIONS)]
    kept = np.flatnonzero(expressions.max(axis=1, initial=0) > 0)
    return expressions[kept].argmax(axis=1).astype(np.int64), kept


def choose(split: FaceSplit, only: Path | None) -> tuple[FaceSplit, int]:
    """The faces whose ids a file lists (one a line, with or without the file suffix); and how many of those ids are absent."""
    if only is None:
        return split, 0
    if not only.is_file():
        raise UsageError(f"no such list of ids: {only}")
    try:
        wanted = {line.strip() for line in only.read_text(encoding="utf-8-sig").splitlines() if line.strip()}
    except UnicodeDecodeError as error:
        raise UsageError(f"not a list of ids: {only}") from error
    exact = wanted.intersection(split.ids)  # so that a.png does not bring a.jpg along
    stems = {_stem(name) for name in wanted - exact}
    index = [i for i, sample in enumerate(split.ids) if sample in exact or _stem(sample) in stems]
    return split.take(np.array(index, np.intp)), len(stems - {_stem(sample) for sample in split.ids})


def _stem(name: str) -> str:
    """Without a picture's suffix."""
    head, dot, tail = name.rpartition(".")
    return head if dot and tail.lower() in ("png", "jpg", "jpeg", "bmp", "webp", "tif", "tiff") else name


def evaluate(  # noqa: PLR0917  (a table of plain values)
    faceset: Path,
    model: str,
    split: str,
    protocol: Protocol,
    only: Path | None = None,
    on_scored: Callable[[int, int], None] = lambda done, total: None,
    prior: str | None = None,
    slices: bool = False,
) -> Evaluation:
    """Load a model and score it. A model of eight expressions on a set of fewer has the missing ones masked out.

    on_scored: called with the number of faces scored and of all faces. prior: see `models.prior.parse_prior`; None: the model's usual one.
    slices: with the figures of `slices.crop_slicings`.
    """
    from fer_core.predict.answer_rule import AnswerOptions
    from fer_core.predict.predictor import load_predictor

    chosen, absent = choose(read_split(faceset, split), only)
    classes, kept = majority_classes(chosen.votes, chosen.kind) if protocol == "majority" else argmax_classes(chosen.votes)
    if len(kept) == 0:
        raise FaceSetError(f"no face to score in split {split!r} under the {protocol} protocol")
    predictor, parts = load_predictor(model, options=AnswerOptions(prior)), []
    for start in range(0, len(kept), FACES_AT_ONCE):
        parts.append(predictor.probabilities(chosen.crops[kept[start : start + FACES_AT_ONCE]]))
        on_scored(min(start + FACES_AT_ONCE, len(kept)), len(kept))
    slicings = crop_slicings(chosen.crops[kept]) if slices else ()
    return score(np.concatenate(parts), classes, chosen.classes, absent, intervals=True, slicings=slicings)


def score(  # noqa: PLR0917  (a table of plain values)
    probabilities: NDArray[np.float64],
    truth: NDArray[np.int64],
    present: tuple[str, ...],
    absent: int = 0,
    intervals: bool = False,
    slicings: Sequence[Slicing] = (),
) -> Evaluation:
    """(N, 8) probabilities and (N,) true classes in the house order -> figures over the set's classes `present`.

    intervals: with bootstrap intervals, which take a second. slicings: with figures of these parts.
    """
    columns = [EXPRESSIONS.index(name) for name in present]
    place = np.full(len(EXPRESSIONS), -1)
    place[columns] = np.arange(len(columns))
    inside = probabilities[:, columns]
    inside = inside / np.maximum(inside.sum(axis=1, keepdims=True), 1e-12)
    true, said = place[truth], inside.argmax(axis=1)
    confusion = confusion_matrix(true, said, len(columns))
    seen, support = confusion_figures(confusion), confusion.sum(axis=1)
    rows = zip(present, seen.precision, seen.recall, seen.f1, support, strict=True)
    per_class = {name: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)} for name, p, r, f, n in rows}
    reliability = reliability_bins(inside, true)
    curve = risk_coverage(inside.max(axis=1), said == true)
    return Evaluation(
        n=len(truth),
        accuracy=seen.accuracy,
        balanced_accuracy=seen.balanced_accuracy,
        macro_f1=seen.macro_f1,
        ece=reliability.ece,
        per_class=per_class,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        classes=present,
        absent_ids=absent,
        reliability=reliability,
        risk_coverage=curve,
        aurc=curve.area,
        intervals=bootstrap_intervals(inside, true) if intervals else {},
        slices=slice_figures(inside, true, slicings),
    )


def report_json(
    evaluation: Evaluation, protocol: Protocol, split: str, name: str, digest: str, *, prior: str = "training"
) -> dict[str, Any]:
    """The contract's JSON object, and what was added to it since: `aurc`, `intervals`, `prior`, and `slices` where there are any."""
    report = {
        "n": evaluation.n,
        "accuracy": evaluation.accuracy,
        "balanced_accuracy": evaluation.balanced_accuracy,
        "macro_f1": evaluation.macro_f1,
        "ece": evaluation.ece,
        "per_class": evaluation.per_class,
        "confusion": [list(row) for row in evaluation.confusion],
        "classes": list(evaluation.classes),
        "protocol": protocol,
        "split": split,
        "model": {"name": name, "digest": digest},
        "absent_ids": evaluation.absent_ids,
        "aurc": evaluation.aurc,
        "intervals": {name: list(bounds) for name, bounds in evaluation.intervals.items()},
        "prior": prior,
    }
    return {**report, "slices": [asdict(part) for part in evaluation.slices]} if evaluation.slices else report
