"""Predictions of two models on the same faces, clean, covered and turned, with their speed, for the gate."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import FaceSetError
from fer_core.evaluation.corruption import corrupt
from fer_core.evaluation.evaluate import Protocol, argmax_classes, majority_classes
from fer_core.faceset import FaceSplit, carve_dev, read_card, read_split
from fer_core.labels import EXPRESSIONS
from fer_core.predict.predictor import Predictor
from fer_core.training.promotion_gate import CORRUPTIONS, STRENGTH, GateOutputs

GATE_SHARE: Final = 0.5
"""Of the held-out faces of a set that has one held-out split only; the others are reported on."""
TIMED: Final = 256
TURNS: Final = 3


@dataclass(frozen=True, slots=True)
class GateSplits:
    """Held-out faces, split by purpose. No group and no picture is in both."""

    gate: FaceSplit
    report: FaceSplit
    where: str
    """In words, for the verdict's page."""


def gate_splits(faceset: Path) -> GateSplits:
    """The faces of a set for the verdict, and those for the reported figures.

    `valid` gates and `test` reports where there are both; else the one there is is divided by the digest of its groups. FaceSetError: the
    set has no held-out split, or one too small to divide.
    """
    held_out = [split for split in ("valid", "test") if read_card(faceset).counts.get(split)]
    if not held_out:
        raise FaceSetError(f"the face set has neither a valid nor a test split for the comparison: {faceset}")
    if len(held_out) == 2:
        gate, report = (read_split(faceset, split, luma=True) for split in held_out)
        pictures, groups = set(gate.pictures), set(gate.groups)
        faces = enumerate(zip(report.pictures, report.groups, strict=True))
        kept = [i for i, (picture, group) in faces if picture not in pictures and group not in groups]
        return GateSplits(gate, report.take(np.array(kept, np.intp)), "valid gates, test reports")
    report, gate = carve_dev(read_split(faceset, held_out[0], luma=True), GATE_SHARE)
    if not len(gate) or not len(report):
        raise FaceSetError(f"the {held_out[0]} split is too small to gate by one half and report on the other: {faceset}")
    return GateSplits(gate, report, f"one half of {held_out[0]} gates, the other reports")


@dataclass(frozen=True, slots=True, eq=False)
class ModelComparison:
    """Both models' predictions on the gate's faces."""

    truth: NDArray[np.int64]
    """(N,) true classes in the order of `labels.EXPRESSIONS`."""
    champion: GateOutputs
    challenger: GateOutputs


def compare_models(gate: FaceSplit, protocol: Protocol, models: tuple[Predictor, Predictor], seed: int = 0) -> ModelComparison:
    """Champion and challenger, in this order, on the faces that the protocol keeps. FaceSetError: it keeps none."""
    truth, kept = majority_classes(gate.votes, gate.kind) if protocol == "majority" else argmax_classes(gate.votes)
    if not len(kept):
        raise FaceSetError(f"no face for the comparison under the {protocol} protocol")
    faces = gate.take(kept)
    corrupted = {kind: corrupt(faces.crops, kind, STRENGTH, seed, faces.ids) for kind in CORRUPTIONS}
    paces = _paces(models, faces.crops[:TIMED])
    first, second = (
        GateOutputs(
            model.ref.name,
            model.digest,
            _inside(model, faces.crops, faces.classes),
            {kind: _inside(model, crops, faces.classes).argmax(axis=1) for kind, crops in corrupted.items()},
            pace,
        )
        for model, pace in zip(models, paces, strict=True)
    )
    return ModelComparison(truth, first, second)


def _inside(model: Predictor, crops: NDArray[np.uint8], classes: Sequence[str]) -> NDArray[np.float64]:
    """(N, 112, 112) -> (N, 8) probabilities over the classes that the set has: the others are masked out."""
    probabilities = model.probabilities(crops) * np.array([name in classes for name in EXPRESSIONS])
    return np.asarray(probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12))


def _paces(models: Sequence[Predictor], crops: NDArray[np.uint8]) -> list[float]:
    """Faces a second: medians over alternating passes, so that other load affects both alike. The first pass, a warm-up, does not count."""
    taken: list[list[float]] = [[] for _ in models]
    for turn in range(TURNS + 1):
        for model, seconds in zip(models, taken, strict=True):
            started = time.perf_counter()
            model.probabilities(crops)
            if turn:
                seconds.append(time.perf_counter() - started)
    return [len(crops) / max(statistics.median(seconds), 1e-9) for seconds in taken]
