"""How far what a run found lies from what a model was accepted with: distributions in fixed bins, compared by their stability index.

The population stability index of two distributions p and q over K bins is PSI = sum over bins of (p - q) ln(p / q): the Kullback-Leibler
divergence there and back, so it is symmetric, never negative, and 0 only where the two agree. A bin may be empty, so each share is first
mixed with a hundredth of the uniform distribution, p = 0.99 n / N + 0.01 / K; that leaves equal shares equal whatever N is.

By custom of credit scoring, where the index comes from, below 0.10 nothing has happened, and from 0.25 on the population is another one.
Two samples of n and m that are drawn from one population have (K - 1) (1 / n + 1 / m) on average (it is a chi-square of K - 1 degrees of
freedom, in these units); verdicts take that off the index first, so that small samples do not drift by chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from fer_core.labels import EXPRESSIONS

SMOOTHING: Final = 0.01
WATCH: Final = 0.10
DRIFT: Final = 0.25
ENOUGH: Final = 200
"""Faces, or images for `no_face`, below which a run is reported and not judged."""

MOST: Final = 2**53
"""Counted, and added up without loss."""
STABLE, WATCHED, DRIFTED, TOO_FEW = "stable", "watch", "drift", "too few"

_TENTHS: Final = tuple(round(0.1 * step, 1) for step in range(1, 10))

EDGES: Final[Mapping[str, tuple[float, ...]]] = {
    "confidence": _TENTHS,
    "face_size_px": (24, 32, 48, 64, 96, 128, 192, 256, 384),
    "sharpness": _TENTHS,
    "yaw_deg": (-60, -45, -30, -15, 15, 30, 45, 60),
    "pitch_deg": (-30, -20, -10, 10, 20, 30),
    "detection_score": _TENTHS,
}
"""Inner edges of the bins of what is measured of a face; a value on an edge counts as above it."""

CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "expression": EXPRESSIONS,
    "needs_review": ("no", "yes"),
    "no_face": ("faces", "no face"),
}
"""What is counted by name. `no_face` is of the images that could be processed, all else of faces."""

MEASURES: Final = (
    "expression",
    "confidence",
    "needs_review",
    "face_size_px",
    "sharpness",
    "yaw_deg",
    "pitch_deg",
    "detection_score",
    "no_face",
)


def bin_names(measure: str) -> tuple[str, ...]:
    """Names of a measure's bins, rising."""
    if measure in CATEGORIES:
        return CATEGORIES[measure]
    edges = [f"{edge:g}" for edge in EDGES[measure]]
    return (f"below {edges[0]}", *(f"{low} to {high}" for low, high in pairwise(edges)), f"{edges[-1]} and more")


def histogram(measure: str, values: NDArray[np.floating]) -> NDArray[np.int64]:
    """(N,) values of a measure with edges -> (K,) counts. What is not a number is left out."""
    finite = values[np.isfinite(values)].astype(np.float32)  # as tables hold them: 0.7 is on the edge 0.7
    at = np.searchsorted(np.array(EDGES[measure], np.float32), finite, side="right")
    return np.bincount(at, minlength=len(EDGES[measure]) + 1).astype(np.int64)


def psi(counts: NDArray[np.integer] | Sequence[int], others: NDArray[np.integer] | Sequence[int]) -> float:
    """Population stability index of two (K,) counts. ValueError when one of them is empty or they have other bins."""
    p, q = _shares(counts), _shares(others)
    if p.shape != q.shape:
        raise ValueError(f"{len(p)} bins against {len(q)}")
    return float(np.sum((p - q) * np.log(p / q)))


def expected_psi(bins: int, total: int, other: int) -> float:
    """Index that two samples of one population have on average. total, other: their sizes, at least 1."""
    return (bins - 1) * (1 / total + 1 / other)


def _shares(counts: NDArray[np.integer] | Sequence[int]) -> NDArray[np.float64]:
    found = np.asarray(counts, np.float64)
    if found.ndim != 1 or found.sum() <= 0 or (found < 0).any():
        raise ValueError("shares need counts that are not all zero")
    return np.asarray((1 - SMOOTHING) * found / found.sum() + SMOOTHING / len(found), np.float64)


@dataclass(frozen=True, slots=True)
class Profile:
    """What one or several runs found, in counts."""

    counts: Mapping[str, tuple[int, ...]]
    """By measure, all of `MEASURES`, one number a bin."""
    sums: Mapping[str, float]
    """Sum of the values of each measure that has edges, so that means are exact."""

    @classmethod
    def empty(cls) -> Self:
        """Of nothing."""
        return cls({name: (0,) * len(bin_names(name)) for name in MEASURES}, dict.fromkeys(EDGES, 0.0))

    def __add__(self, other: Self) -> Self:
        counts = {name: tuple(one + two for one, two in zip(found, other.counts[name], strict=True)) for name, found in self.counts.items()}
        return type(self)(counts, {name: value + other.sums[name] for name, value in self.sums.items()})

    @property
    def faces(self) -> int:
        """Faces that were labelled."""
        return sum(self.counts["expression"])

    def total(self, measure: str) -> int:
        """Faces or images that a measure is known of."""
        return sum(self.counts[measure])

    def mean(self, measure: str) -> float | None:
        """Mean of a measure with edges, or the share of the last of two categories; None where there is nothing, or no such thing."""
        total = self.total(measure)
        if not total or measure == "expression":
            return None
        return self.sums[measure] / total if measure in self.sums else self.counts[measure][-1] / total

    def to_json(self) -> dict[str, Any]:
        """With the bins, so that a file explains itself."""
        return {name: {"bins": list(bin_names(name)), "counts": list(self.counts[name]), "sum": self.sums.get(name)} for name in MEASURES}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` gave; ValueError, KeyError or TypeError for anything else, also for other bins."""
        if any(value[name]["bins"] != list(bin_names(name)) or len(value[name]["counts"]) != len(bin_names(name)) for name in MEASURES):
            raise ValueError("other bins")
        counts = {name: tuple(value[name]["counts"]) for name in MEASURES}
        if not all(type(count) is int and 0 <= count <= MOST for each in counts.values() for count in each):
            raise ValueError("counts are whole numbers that are not negative")
        sums = {name: float(value[name]["sum"]) for name in EDGES}
        if not all(map(isfinite, sums.values())):
            raise ValueError("sums are finite")
        return cls(counts, sums)


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a measure is watched, and from where on it has drifted."""

    watch: float = WATCH
    drift: float = DRIFT
    enough: int = ENOUGH

    def __post_init__(self) -> None:
        if not (0 < self.watch <= self.drift < float("inf") and self.enough >= 1):
            raise ValueError("limits of drift are above 0, watch is at most drift, and at least one face is needed")


@dataclass(frozen=True, slots=True)
class Finding:
    """One measure of one run."""

    measure: str
    psi: float | None
    """None where one of the two has nothing."""
    by_chance: float | None
    """How much of it samples of this size have on average where nothing has changed."""
    verdict: str
    """`stable`, `watch`, `drift` or `too few`."""
    reference: float | None
    """Mean, or share of the last of two categories; None for the expression."""
    now: float | None


def compare_profiles(reference: Profile, now: Profile, limits: Limits | None = None) -> tuple[Finding, ...]:
    """Every measure of `now` beside the reference, in the order of `MEASURES`."""
    limits = limits or Limits()
    return tuple(_finding(name, reference, now, limits) for name in MEASURES)


def _finding(name: str, reference: Profile, now: Profile, limits: Limits) -> Finding:
    total, other = now.total(name), reference.total(name)
    if not min(total, other):
        return Finding(name, None, None, TOO_FEW, reference.mean(name), now.mean(name))
    index, noise = psi(now.counts[name], reference.counts[name]), expected_psi(len(bin_names(name)), total, other)
    verdict = TOO_FEW if min(total, other) < limits.enough else _verdict(index - noise, limits)
    return Finding(name, index, noise, verdict, reference.mean(name), now.mean(name))


def _verdict(index: float, limits: Limits) -> str:
    return DRIFTED if index >= limits.drift else WATCHED if index >= limits.watch else STABLE


def drifted(findings: Sequence[Finding]) -> tuple[str, ...]:
    """Names of the measures that have drifted, the furthest first."""
    far = [finding for finding in findings if finding.verdict == DRIFTED]
    return tuple(finding.measure for finding in sorted(far, key=lambda finding: -(finding.psi or 0.0)))
