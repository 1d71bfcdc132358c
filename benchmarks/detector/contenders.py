"""The detectors that are measured, run and timed."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from benchmarks.detector.cascade import Cascade
from benchmarks.detector.truth import Truth
from fer_core.detect import scrfd, yunet
from fer_core.detect.base import Detector
from fer_core.detect.builtin import detector as builtin
from fer_core.types import Faces

NAMES: Final = ("cascade", "yunet", "scrfd_500m", "scrfd_2.5g", "builtin")


@dataclass(frozen=True, slots=True)
class Contender:
    """A detector to be measured."""

    name: str
    score_threshold: float | None
    """At which it is measured; None for the cascade, which has none."""
    at: Callable[[float], Detector]
    """Builds it at a score threshold. DetectorError: a file or a package is missing."""

    def build(self) -> Detector:
        """At its own threshold."""
        return self.at(self.score_threshold or 0.0)


@dataclass(frozen=True, slots=True)
class Found:
    """What one detector found in every picture, in the order of `Truth`."""

    identity: str
    afw: list[Faces]
    photographs: list[Faces]
    helen: list[Faces]
    """Empty where it was not asked for."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians over pictures."""

    images_per_second: float
    images_per_cpu_second: float


def contenders(files: Path, weights: Path, threshold: float | None = None) -> dict[str, Contender]:
    """By name, at the thresholds that labelling ships.

    files: folder of YuNet and SCRFD; weights: file of the built-in detector; threshold: another one for it.
    """

    def yunet_at(score: float) -> Detector:
        return yunet.YuNet(files / "face_detection_yunet_2023mar.onnx", score_threshold=score)

    def scrfd_at(file: str) -> Callable[[float], Detector]:
        return lambda score: _scrfd(files / file, score)

    def builtin_at(score: float) -> Detector:
        return builtin.BuiltinDetector(weights, score_threshold=score)

    listed = (
        Contender("cascade", None, lambda _: Cascade()),
        Contender("yunet", yunet.SCORE_THRESHOLD, yunet_at),
        Contender("scrfd_500m", scrfd.SCORE_THRESHOLD, scrfd_at("scrfd_500m_kps.onnx")),
        Contender("scrfd_2.5g", scrfd.SCORE_THRESHOLD, scrfd_at("scrfd_2.5g_kps.onnx")),
        Contender("builtin", builtin.SCORE_THRESHOLD if threshold is None else threshold, builtin_at),
    )
    return {contender.name: contender for contender in listed}


def find(detector: Detector, truth: Truth, *, helen: bool) -> Found:
    """Run a detector over everything; over HELEN's portraits only where they are wanted."""
    portraits = truth.helen if helen else []
    return Found(
        detector.identity,
        [detector.detect(scene.pixels) for scene in truth.afw],
        [detector.detect(scene.pixels) for scene in truth.photographs],
        [detector.detect(portrait.pixels) for portrait in portraits],
    )


def speeds(detectors: Mapping[str, Detector], pictures: Sequence[NDArray[Any]]) -> dict[str, Speed]:
    """Of detectors that have seen the pictures before. They take turns picture by picture, so that a busy moment hits all alike."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in detectors}
    for pixels in pictures:
        for name, detector in detectors.items():
            wall, cpu = time.perf_counter(), time.process_time()
            detector.detect(pixels)
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: _speed(times) for name, times in taken.items()}


def _speed(times: Sequence[tuple[float, float]]) -> Speed:
    wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
    return Speed(1 / wall, 1 / max(cpu, 1e-9))


def _scrfd(file: Path, score: float) -> Detector:
    detector = scrfd.Scrfd(file)
    if score != scrfd.SCORE_THRESHOLD:
        detector._model = _AtScore(detector._model, score)
        detector.identity += f"-at{score:g}"
    return detector


@dataclass(frozen=True, slots=True)
class _AtScore:
    """insightface's model, deaf to the threshold that labelling ships."""

    model: Any
    score: float

    def forward(self, pixels: NDArray[Any], threshold: float) -> Any:  # noqa: ANN401  (insightface is untyped)
        """As insightface's."""
        del threshold
        return self.model.forward(pixels, self.score)
