"""The class prior of a trained network and its answers under others, fitted on held-back faces, also on such as are unlike training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.evaluation.corruption import CORRUPTIONS, STRENGTHS, corrupt
from fer_core.evaluation.evaluate import argmax_classes, majority_classes
from fer_core.faceset import FaceSplit
from fer_core.models.calibration import expected_calibration_error, fit_temperature
from fer_core.models.novelty import NoveltyScale, fit_novelty
from fer_core.models.precision import fit_precision
from fer_core.models.prior import PRIORS, ClassPrior, PriorCalibration, PriorName, log_prior, posterior
from fer_core.models.review_thresholds import fit_review_rule

TEMPERED: Final = 0.5
"""Part of the class bias that the prior `tempered` keeps: on unseen people of muxspace a half gives nine points of balanced accuracy at no
loss of accuracy, and costs one point of accuracy on FER+ (docs/explanation/trust.md)."""
TEMPERATURES: Final = np.exp(np.linspace(-1.2, 1.2, 97))
"""Among which the one of least calibration error is sought, 2.5 % apart."""
SMOOTHED: Final = 5
"""Neighbours over which calibration errors are averaged: they jump when a face changes its bin."""


SPOILT: Final = 300
"""Faces of each corruption and strength."""


@dataclass(frozen=True, slots=True, eq=False)
class DevSet:
    """Faces that are never trained on. N of them."""

    name: str
    crops: NDArray[np.uint8]
    """(N, 112, 112) luma."""
    classes: NDArray[np.int64]
    """(N,) true expression, argmax protocol."""
    agreed: NDArray[np.bool_]
    """(N,) whether most raters say so: the faces of the majority protocol."""
    present: tuple[str, ...]
    """The set's classes."""

    @classmethod
    def of(cls, name: str, faces: FaceSplit) -> "DevSet":
        """The faces of a split that have a true expression."""
        classes, rows = argmax_classes(faces.votes)
        agreed = np.zeros(len(faces.votes), np.bool_)
        agreed[majority_classes(faces.votes, faces.kind)[1]] = True
        return cls(name, faces.crops[rows], classes, agreed[rows], faces.classes)

    def majority(self) -> "DevSet":
        """The faces that most raters agree on."""
        return DevSet(self.name, self.crops[self.agreed], self.classes[self.agreed], self.agreed[self.agreed], self.present)


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Faces of one origin that no training saw. N of them."""

    name: str
    logits: NDArray[np.float64]
    """(N, 8) as the network gives them, the class bias included."""
    classes: NDArray[np.int64]
    """(N,) true expression."""
    agreed: NDArray[np.bool_]
    """(N,) whether most raters say so."""

    def majority(self) -> "Domain":
        """The faces that most raters agree on."""
        return Domain(self.name, self.logits[self.agreed], self.classes[self.agreed], self.agreed[self.agreed])


@dataclass(frozen=True, slots=True, eq=False)
class Cosines:
    """How a cosine classifier makes logits of cosines."""

    scale: float
    """By which it multiplies them."""
    offset: NDArray[np.float64]
    """(8,) what it adds: its learned class bias, or zeros."""


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The faces that a network's answers are fitted on."""

    own: Domain
    """Of the training's own origin."""
    others: tuple[Domain, ...]
    """Of other origins."""
    corrupted: tuple[Domain, ...]
    """Faces of `own`, spoilt."""


def fit_class_prior(held_back: HeldBack, bias: NDArray[np.float64], cosines: Cosines | None) -> ClassPrior:
    """bias: (8,) the class prior that training left in the logits. cosines: None where a network compares no directions.

    `training` is for the majority protocol's faces. The other priors are for unknown collections, which hold the faces that raters disagree
    on as well, so they are fitted on those too.
    """
    bias = bias.round(6)
    temperatures = {name: _temperature(held_back, bias, name) for name in PRIORS}
    novelty = None if cosines is None else _novelty(held_back, bias, cosines, temperatures["tempered"])
    calibrations: dict[str, PriorCalibration] = {name: _calibration(held_back, bias, name, temperatures[name], novelty) for name in PRIORS}
    return ClassPrior(tuple(bias.tolist()), TEMPERED, calibrations, novelty)


def domain_errors(held_back: HeldBack, prior: ClassPrior, name: PriorName) -> dict[str, float]:
    """Expected calibration error by domain, on the faces that the prior is for; `corrupted` is the mean over corruptions and strengths."""
    bias, temperature = np.array(prior.bias), prior.calibrations[name].temperature
    held_back = _faces_of(held_back, name)
    errors = {one.name: _error(one, bias, name, temperature) for one in (held_back.own, *held_back.others)}
    spoilt = [_error(one, bias, name, temperature) for one in held_back.corrupted]
    return {**errors, "corrupted": float(np.mean(spoilt))} if spoilt else errors


def calibration_told(held_back: HeldBack, prior: ClassPrior) -> dict[str, Any]:
    """What a card says: faces by domain, and calibration errors by prior and domain."""
    errors = {name: {place: round(error, 4) for place, error in domain_errors(held_back, prior, name).items()} for name in PRIORS}
    faces = {one.name: len(one.classes) for one in (held_back.own, *held_back.others)}
    protocols = {name: "majority" if name == "training" else "argmax" for name in PRIORS}
    return {"calibration": {"faces": faces, "protocols": protocols, "ece": errors}}


def corrupted_faces(own: DevSet) -> Iterator[DevSet]:
    """An even sample of held-back faces under each corruption and strength."""
    some = np.linspace(0, len(own.classes) - 1, min(SPOILT, len(own.classes))).astype(np.intp)
    for kind in CORRUPTIONS:
        for strength in range(1, len(STRENGTHS[kind].amounts) + 1):
            crops = corrupt(own.crops[some], kind, strength, 0)
            yield DevSet(f"{kind} {strength}", crops, own.classes[some], own.agreed[some], own.present)


def calibration_crops(own: DevSet) -> Iterator[NDArray[np.uint8]]:
    """(N, 112, 112) luma each: the held-back faces as they are, then `corrupted_faces`."""
    yield own.crops
    for spoilt in corrupted_faces(own):
        yield spoilt.crops


def corrupted_domains(logits: Callable[[NDArray[np.uint8]], NDArray[np.float64]], own: DevSet) -> tuple[Domain, ...]:
    """What a network says of `corrupted_faces`. logits: the network's, of (N, 112, 112) luma."""
    return tuple(Domain(one.name, logits(one.crops), one.classes, one.agreed) for one in corrupted_faces(own))


def _faces_of(held_back: HeldBack, name: PriorName) -> HeldBack:
    """Those that a prior is for."""
    if name != "training":
        return held_back
    others, corrupted = (
        tuple(one.majority() for one in some if one.agreed.any())  # none may be agreed on in a small set
        for some in (held_back.others, held_back.corrupted)
    )
    return HeldBack(held_back.own.majority(), others, corrupted)


def _temperature(held_back: HeldBack, bias: NDArray[np.float64], name: PriorName) -> float:
    """`training`: of least log loss on the training's own faces. The others: of least calibration error, as a mean over domains."""
    if name == "training":
        own = held_back.own.majority()
        return round(fit_temperature(own.logits - bias, own.classes, bias), 4)
    groups = [[held_back.own], *([one] for one in held_back.others), list(held_back.corrupted)]
    errors = [
        float(np.mean([np.mean([_error(one, bias, name, temperature) for one in group]) for group in groups if group]))
        for temperature in TEMPERATURES.tolist()
    ]
    smooth = np.convolve(np.pad(errors, SMOOTHED // 2, mode="edge"), np.full(SMOOTHED, 1 / SMOOTHED), mode="valid")
    return round(float(TEMPERATURES[int(np.argmin(smooth))]), 4)


def _calibration(
    held_back: HeldBack,
    bias: NDArray[np.float64],
    name: PriorName,
    temperature: float,
    novelty: NoveltyScale | None,
) -> PriorCalibration:
    judged = (held_back.own, *held_back.others) if name != "training" else (held_back.own.majority(),)
    probabilities = np.concatenate([_answers(one.logits, bias, name, temperature) for one in judged])
    classes = np.concatenate([one.classes for one in judged])
    if novelty is not None:  # faces beyond its limit need review anyway
        passed = novelty.novelty(np.concatenate([one.logits for one in judged])) <= novelty.limit
        probabilities, classes = probabilities[passed], classes[passed]
    return PriorCalibration(temperature, fit_review_rule(probabilities, classes), fit_precision(probabilities, classes))


def _novelty(held_back: HeldBack, bias: NDArray[np.float64], cosines: Cosines, temperature: float) -> NoveltyScale:
    """Whether a label is wrong is asked under the usual prior."""
    shifted: Sequence[Domain] = (*held_back.others, *held_back.corrupted) or (held_back.own,)
    logits = np.concatenate([one.logits for one in shifted])
    wrong = np.concatenate([_answers(one.logits, bias, "tempered", temperature).argmax(axis=1) != one.classes for one in shifted])
    return fit_novelty(held_back.own.logits, logits, wrong, cosines.scale, cosines.offset)


def _error(domain: Domain, bias: NDArray[np.float64], name: PriorName, temperature: float) -> float:
    """Under `balanced` each class weighs the same: the prior says that of a collection."""
    probabilities = _answers(domain.logits, bias, name, temperature)
    if name != "balanced":
        return expected_calibration_error(probabilities, domain.classes)
    counts = np.bincount(domain.classes, minlength=len(bias))
    return expected_calibration_error(probabilities, domain.classes, 1 / counts[domain.classes])


def _answers(logits: NDArray[np.float64], bias: NDArray[np.float64], name: PriorName, temperature: float) -> NDArray[np.float64]:
    return posterior(logits, bias, temperature, log_prior(bias, TEMPERED, name))
