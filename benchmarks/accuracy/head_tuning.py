"""What a few labels of one collection are worth: `--tune head` on muxspace and on corrupted FER+ faces.

    python -m benchmarks.accuracy.head_tuning MUXSPACE FERPLUS --model MODEL

MUXSPACE: the face set made by benchmarks/accuracy/muxspace.py and `ferflow dataset import`. Labels are drawn from its split `train` evenly
over seven expressions (contempt is left out: the test people show it once), each of another person of that expression, as far as there are
so many. Scored on the split `test`, whose people are in no training.

The shipped `tiny` has learnt from the people of `train`: labels of theirs are worth less to it than those of a new collection would be, and
cross-validation over them favours the start. So there are two measurements without that: tuned and scored on the people of `test` alone, by
cross-validation over whole people; and FER+ validation, blurred or noisy, as a collection that no training saw. Of that, labels are drawn
evenly over eight expressions, at most half of the faces of each, and the rest is scored.

Three draws of each size; under the priors `tempered` and `balanced`; accuracy, balanced accuracy and expected calibration error each.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.corruption import Corruption, corrupt
from fer_core.evaluation.evaluate import majority_classes, score
from fer_core.faceset import FaceSplit, read_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.prior import ClassPrior, PriorName
from fer_core.models.reference_faces import read_reference
from fer_core.models.store import load_model, read_weights, resolve_model
from fer_core.training.head_fit import PULL, Evidence, Head, face_vectors, fit_head, head_of
from fer_core.training.head_validation import hold_out

SEVEN = EXPRESSIONS[:-1]
SIZES = (35, 70, 210)
DRAWS = 3
PRIORS: tuple[PriorName, ...] = ("tempered", "balanced")
SPOILT: tuple[Corruption, ...] = ("blur", "noise")
STRENGTH = 4


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """N faces as a head sees them."""

    vectors: NDArray[np.float64]
    classes: NDArray[np.int64]
    groups: tuple[str, ...]
    expressions: tuple[str, ...]

    def take(self, index: NDArray[np.intp]) -> "Faces":
        """The faces at `index`."""
        return Faces(self.vectors[index], self.classes[index], tuple(self.groups[row] for row in index), self.expressions)


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """The model that is tuned."""

    head: Head
    prior: ClassPrior
    pull: float

    @property
    def evidence(self) -> Evidence:
        """How its logits become evidence."""
        return Evidence(np.array(self.prior.bias), self.prior.calibrations["balanced"].temperature)

    def figures(self, faces: Faces, head: Head | None = None, temperature: float | None = None) -> dict[str, list[float]]:
        """Of the start, or of a tuned head with its temperature."""
        logits = (head or self.head).logits(faces.vectors)
        return {name: scores(self.prior.posterior(logits, name, temperature), faces) for name in PRIORS}

    def tuned(self, labelled: Faces, scored: dict[str, Faces]) -> dict[str, Any]:
        """A head refitted to labelled faces, scored on others."""
        held_out = hold_out(self.head, self.evidence, labelled.vectors, labelled.classes, labelled.groups, self.pull)
        head = fit_head(self.head, self.evidence, labelled.vectors, labelled.classes, self.pull)
        temperature = held_out.temperature(self.prior)
        told = {place: self.figures(faces, head, temperature) for place, faces in scored.items()}
        return {"labels": len(labelled.classes), "temperature": round(temperature, 4), **told}

    def cross_validated(self, faces: Faces) -> dict[str, list[float]]:
        """Tuned on four fifths of the groups and scored on the last, in turn."""
        held_out = hold_out(self.head, self.evidence, faces.vectors, faces.classes, faces.groups, self.pull)
        return {name: scores(held_out.probabilities(self.prior, name), faces) for name in PRIORS}


def scores(probabilities: NDArray[np.float64], faces: Faces) -> list[float]:
    """Accuracy, balanced accuracy, expected calibration error."""
    found = score(probabilities, faces.classes, faces.expressions)
    return [round(value, 4) for value in (found.accuracy, found.balanced_accuracy, found.ece)]


def drawn(faces: Faces, size: int, seed: int, share: float) -> NDArray[np.intp]:
    """So many faces in all of each expression, each of another group, and at most a share of the expression's."""
    random, chosen = np.random.default_rng(seed), list[int]()
    for expression in range(len(faces.expressions)):
        own = random.permutation(np.flatnonzero(faces.classes == expression)).tolist()
        first = {faces.groups[row]: row for row in reversed(own)}
        several = [row for row in own if first[faces.groups[row]] == row]
        chosen += several[: min(size // len(faces.expressions), int(share * len(own)))]
    return np.array(sorted(chosen), np.intp)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("muxspace", type=Path)
    parser.add_argument("ferplus", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--pull", type=float, default=PULL)
    args = parser.parse_args()
    ref = resolve_model(args.model)
    network, spec = load_model(ref)
    assert spec.prior is not None
    start = Start(head_of(network), spec.prior, args.pull)

    def seen(split: FaceSplit, expressions: tuple[str, ...], spoil: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]) -> Faces:
        classes, kept = majority_classes(split.votes, split.kind)
        some = classes < len(expressions)
        crops = spoil(split.crops[kept[some]])
        groups = tuple(split.groups[row] for row in kept[some])
        return Faces(face_vectors(network, crops, spec.flip), classes[some], groups, expressions)

    train, test = (seen(read_split(args.muxspace, name, luma=True), SEVEN, lambda crops: crops) for name in ("train", "test"))
    places = {"muxspace": test}
    reference = read_reference(ref.path, read_weights(ref)[0])
    if reference is not None:
        vectors = reference.embeddings.astype(np.float64)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        places[reference.name] = Faces(vectors, reference.shares.argmax(axis=1).astype(np.int64), (), EXPRESSIONS)
    told: dict[str, Any] = {"model": ref.digest, "pull": args.pull}
    told["muxspace"] = {
        "start": {place: start.figures(faces) for place, faces in places.items()},
        **{str(size): [start.tuned(train.take(drawn(train, size, seed, 1)), places) for seed in range(DRAWS)] for size in SIZES},
        "cross-validated": start.cross_validated(test),
    }
    valid = read_split(args.ferplus, "valid", luma=True)
    for kind in SPOILT:
        faces = seen(valid, EXPRESSIONS, partial(corrupt, kind=kind, strength=STRENGTH, seed=0))
        rows: dict[str, Any] = {"start": start.figures(faces)}
        for size in SIZES:
            picks = [drawn(faces, size, seed, 0.5) for seed in range(DRAWS)]
            rest = [np.setdiff1d(np.arange(len(faces.classes)), pick) for pick in picks]
            rows[str(size)] = [start.tuned(faces.take(pick), {"rest": faces.take(other)}) for pick, other in zip(picks, rest, strict=True)]
        told[f"FER+ validation, {kind} {STRENGTH}"] = rows
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
