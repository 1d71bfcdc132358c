"""`--tune head`: a model of one collection from a few of its labelled faces. The network stays, its head is refitted; seconds on a CPU.

Temperatures, review limits and the verdict come from cross-validation over the same faces (`head_validation`), so that no other set is
needed. What the collection gains other faces may lose: a tuned model is the model of that collection.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.errors import TrainingError
from fer_core.evaluation.evaluate import Evaluation, majority_classes, score
from fer_core.faceset import FaceSplit, card_for_model, faceset_digest, held_out_pictures, join, read_card, read_split
from fer_core.labels import EXPRESSIONS
from fer_core.models.card import ModelRef
from fer_core.models.network import MultiscaleNet
from fer_core.models.novelty import NoveltyScale
from fer_core.models.prior import ClassPrior
from fer_core.models.reference_faces import ReferenceFaces, read_reference, write_reference
from fer_core.models.store import ModelSpec, load_model, save_model
from fer_core.predict.answer_rule import USUAL
from fer_core.training.head_fit import Evidence, Head, face_vectors, fit_head, head_of
from fer_core.training.head_validation import calibration_error_deviation, hold_out
from fer_core.training.promotion_gate import GateBounds, GateOutputs, Verdict, judge_tuned
from fer_core.training.reviewed_faces import keep_reviewed_faces

FEWEST: Final = 20
"""Faces."""
FEWEST_CLASSES: Final = 2
NOT_KEPT: Final = ("digest", "spec", "figures", "development", "unseen", "calibration", "known_gaps", "framing_of_figures")
"""Of the start's card: what is said of its head."""
ONE_COLLECTION: Final = "tuned to one collection: on other faces it may do worse than the model it was tuned from"


@dataclass(frozen=True, slots=True)
class HeadTuning:
    """A tuned model, and how it and its start do on faces whose groups were held out."""

    model: ModelRef
    verdict: Verdict
    start: Evaluation
    tuned: Evaluation


@dataclass(frozen=True, slots=True)
class _Start:
    """The model that is tuned."""

    ref: ModelRef
    network: MultiscaleNet
    spec: ModelSpec
    prior: ClassPrior
    head: Head
    half: bool
    """Whether its weights are stored in half precision."""
    reference: ReferenceFaces | None

    @property
    def evidence(self) -> Evidence:
        return Evidence(np.array(self.prior.bias), self.prior.calibrations["balanced"].temperature)


def tune_head(
    start: ModelRef, facesets: tuple[Path, ...], to: Path, name: str | None = None, bounds: GateBounds | None = None
) -> HeadTuning:
    """Refit the head of `start` to the `train` splits of the sets and write the model `to / name`.

    TrainingError: too few faces, expressions or groups, or a start whose head cannot be refitted.
    """
    begun = _checked_start(start)
    faces, classes = _labelled(facesets)
    vectors = face_vectors(begun.network, faces.crops, begun.spec.flip)
    held_out = hold_out(begun.head, begun.evidence, vectors, classes, faces.groups)
    head = _stored(fit_head(begun.head, begun.evidence, vectors, classes), begun.half)
    prior = replace(begun.prior, calibrations=held_out.calibrations(begun.prior), novelty=_novelty(begun.prior, head))
    before = begun.prior.posterior(begun.head.logits(vectors), USUAL)
    after = held_out.probabilities(begun.prior, USUAL)
    figures = tuple(score(probabilities, classes, faces.classes) for probabilities in (before, after))
    keep_reviewed_faces(to / (name or f"{start.name}-tuned"), facesets, (start,))
    model = _save(begun, head, prior, to / (name or f"{start.name}-tuned"), _told(begun, facesets, faces, classes, figures, (head, prior)))
    inside = np.array([expression in faces.classes for expression in EXPRESSIONS])
    outputs = [
        GateOutputs(ref.name, ref.digest, _within(probabilities, inside), {}, 0.0)
        for ref, probabilities in ((start, before), (model, after))
    ]
    deviation = calibration_error_deviation(classes, outputs[0].clean, outputs[1].clean, faces.groups)
    return HeadTuning(model, judge_tuned(classes, outputs[0], outputs[1], deviation, bounds or GateBounds()), *figures)


def _checked_start(ref: ModelRef) -> _Start:
    network, spec = load_model(ref)
    if spec.network.classes != EXPRESSIONS:
        raise TrainingError(f"cannot tune {ref.path}: it does not have the eight expressions in their order")
    if spec.network.classifier != "cosine":
        raise TrainingError(
            f"cannot tune {ref.path}: only the head of a cosine classifier can be refitted, and this one is {spec.network.classifier}"
        )
    if spec.prior is None:
        raise TrainingError(f"cannot tune {ref.path}: it has no class prior (a model of an earlier release)")
    half = all(bool((tensor.half().float() == tensor).all()) for tensor in network.state_dict().values() if tensor.is_floating_point())
    return _Start(ref, network, spec, spec.prior, head_of(network), half, read_reference(ref.path, _tensors(network)))


def _labelled(facesets: tuple[Path, ...]) -> tuple[FaceSplit, NDArray[np.int64]]:
    """The faces that the majority protocol keeps, each picture once, and their classes. TrainingError: too few.

    Pictures of any set's other splits are left out.
    """
    held_out = frozenset[str]().union(*map(held_out_pictures, facesets))
    joined = join([read_split(folder, "train", luma=True) for folder in facesets], held_out)
    classes, kept = majority_classes(joined.votes, joined.kind)
    first = {joined.pictures[row]: number for number, row in reversed(list(enumerate(kept)))}
    numbers = np.array(sorted(first.values()), np.intp)
    faces, classes = joined.take(kept[numbers]), classes[numbers]
    there = Counter(EXPRESSIONS[number] for number in classes)
    told = ", ".join(f"{expression} {count}" for expression, count in there.most_common()) or "none"
    if len(faces) < FEWEST or len(there) < FEWEST_CLASSES:
        raise TrainingError(f"tuning a head takes at least {FEWEST} faces of {FEWEST_CLASSES} expressions (there are: {told})")
    if len(set(faces.groups)) < 2:
        raise TrainingError("tuning a head takes faces of at least two groups: one is held out to judge by")
    return faces, classes


def _stored(head: Head, half: bool) -> Head:
    """The head as it will be read back."""
    kind = np.float16 if half else np.float32
    centers, bias = (values.astype(kind).astype(np.float64) for values in (head.centers, head.bias))
    return Head(centers / np.linalg.norm(centers, axis=1, keepdims=True), bias, head.scale)


def _novelty(prior: ClassPrior, head: Head) -> NoveltyScale | None:
    """The scale of the start, for the new class bias."""
    return None if prior.novelty is None else replace(prior.novelty, offset=tuple(head.bias.round(6).tolist()))


def _within(probabilities: NDArray[np.float64], inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, 8) over the expressions that the set has."""
    kept = probabilities * inside
    return np.asarray(kept / np.maximum(kept.sum(axis=1, keepdims=True), 1e-12), np.float64)


def _told(  # noqa: PLR0917  (parts of one text)
    begun: _Start,
    facesets: tuple[Path, ...],
    faces: FaceSplit,
    classes: NDArray[np.int64],
    figures: tuple[Evaluation, ...],
    fitted: tuple[Head, ClassPrior],
) -> dict[str, Any]:
    """What the card says of the tuning."""
    start, tuned = figures
    counts = Counter(EXPRESSIONS[number] for number in classes)
    return {
        "development": {
            "faces": len(faces),
            "protocol": "cross-validated, whole groups held out",
            "accuracy": tuned.accuracy,
            "balanced_accuracy": tuned.balanced_accuracy,
            "macro_f1": tuned.macro_f1,
            "ece": tuned.ece,
        },
        "tuned": {
            "from": {"name": begun.ref.name, "digest": begun.ref.digest},
            "on": [card_for_model(read_card(folder)) for folder in facesets],
            "facesets": [faceset_digest(folder) for folder in facesets],
            "faces": len(faces),
            "groups": len(set(faces.groups)),
            "per_class": {name: counts[name] for name in EXPRESSIONS if counts[name]},
            "prior": USUAL,
            "gain": _change(start, tuned),
            "reference": _cost(begun, *fitted),
        },
    }


def _change(before: Evaluation, after: Evaluation) -> dict[str, dict[str, float]]:
    """By figure: of the start and of the tuned model."""
    names = ("accuracy", "balanced_accuracy", "ece")
    return {name: {"start": round(getattr(before, name), 4), "tuned": round(getattr(after, name), 4)} for name in names}


def _cost(begun: _Start, head: Head, prior: ClassPrior) -> dict[str, Any] | None:
    """The same on the reference faces that the start carries; None where it carries none."""
    reference = begun.reference
    if reference is None:
        return None
    vectors = reference.embeddings.astype(np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    classes = reference.shares.argmax(axis=1)
    answers = begun.prior.posterior(begun.head.logits(vectors), USUAL), prior.posterior(head.logits(vectors), USUAL)
    before, after = (score(probabilities, classes, EXPRESSIONS) for probabilities in answers)
    return {"name": reference.name, "faces": len(classes), **_change(before, after)}


def _tensors(network: MultiscaleNet) -> dict[str, NDArray[np.float32]]:
    state = network.state_dict().items()
    return {name: tensor.numpy() for name, tensor in state if not name.endswith("num_batches_tracked")}


def _save(begun: _Start, head: Head, prior: ClassPrior, folder: Path, told: dict[str, Any]) -> ModelRef:
    state = dict(begun.network.state_dict())
    state |= {"centers": torch.from_numpy(head.centers).float(), "class_bias": torch.from_numpy(head.bias).float()}
    own = prior.calibrations["training"]
    network = replace(begun.spec.network, class_bias=True)
    spec = replace(begun.spec, network=network, temperature=own.temperature, review=own.review, prior=prior)
    kept = {key: value for key, value in begun.ref.card.items() if key not in NOT_KEPT}
    card = {**kept, "name": folder.name, **told, "known_gaps": list(dict.fromkeys([*begun.ref.card.get("known_gaps", []), ONE_COLLECTION]))}
    model = save_model(folder, state, spec, card, begun.half)
    if begun.reference is not None:
        write_reference(folder, begun.reference, _tensors(begun.network))
    return model
