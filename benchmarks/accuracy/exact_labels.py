"""What the shipped detector and a model say of pictures when their networks are computed in float64: rounding can hardly matter there."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy.matched import LabelledFaces
from fer_core.align.face_extractor import CpuFaceExtractor
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.decode.min_face import Look
from fer_core.detect.builtin.decode_outputs import Levels
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.detect.builtin.weights import SHIPPED, load_detector
from fer_core.labels import EXPRESSIONS
from fer_core.models.store import load_model, resolve_model
from fer_core.predict.answer_rule import answer_rule
from fer_core.timing import Stopwatch

if TYPE_CHECKING:
    from fer_core.models.network import MultiscaleNet

MODEL: Final = "tiny"
SMALLEST_FACE: Final = 16.0
"""Pixels, as a run has it that is not told otherwise."""


def exact_labels(pictures: Path, workers: int) -> dict[str, LabelledFaces]:
    """Labels by the pictures' paths below their folder, of those with a face. Slow: some seconds a picture and core."""
    names = sorted(str(file.relative_to(pictures)) for file in pictures.rglob("*") if file.is_file())
    parts = [names[start::workers] for start in range(workers)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = pool.map(_part, [str(pictures)] * workers, parts)
        return {name: said for part in found for name, said in part}


def _part(folder: str, names: Sequence[str]) -> list[tuple[str, LabelledFaces]]:
    import torch

    torch.set_num_threads(1)
    return list(_said(Path(folder), names))


def _said(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, LabelledFaces]]:
    detector = BuiltinDetector()
    detector._search = detector._refine = _ExactRuntime()
    extractor, watch = CpuFaceExtractor(detector), Stopwatch()
    ref = resolve_model(MODEL)
    network, spec = load_model(ref)
    network = network.double()
    for name in names:
        pixels = decode((folder / name).read_bytes(), DecodeLimits()).pixels
        (extracted,) = extractor.extract([pixels], [Look(SMALLEST_FACE)], watch)
        if len(extracted.crops):
            told = answer_rule(ref, spec).predictions(_logits(network, extracted.crops, mirrored=spec.flip))
            expressions = tuple(EXPRESSIONS[index] for index in told.expression)
            yield name, LabelledFaces(extracted.faces.boxes, expressions, told.confidence.astype(np.float64))


def _logits(network: "MultiscaleNet", crops: NDArray[np.uint8], *, mirrored: bool) -> NDArray[np.float64]:
    import torch

    faces = torch.from_numpy(crops).permute(0, 3, 1, 2).double()
    with torch.inference_mode():
        logits = network.logits(network(faces))
        if mirrored:
            logits = (logits + network.logits(network(faces.flip(-1)))) / 2
    return np.asarray(logits.numpy(), np.float64)


class _ExactRuntime:
    """A `DetectorRuntime`."""

    def __init__(self) -> None:
        self._network = load_detector(SHIPPED).double()

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Levels:
        import torch

        with torch.inference_mode():
            levels = self._network.levels(torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).double())
        return [level.float().numpy() for level in levels]
