"""Models that a worker keeps loaded between shards: a detector and a predictor, checked against the digests in the run's configuration."""

import sys
import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from fer_core.align.face_extractor import CpuFaceExtractor, FaceExtractor
from fer_core.align.turning_extractor import TurningExtractor
from fer_core.detect.base import Detector
from fer_core.detect.upright_rule import ANY_FACE
from fer_core.errors import DetectorError, ModelError
from fer_core.predict.base import FacePredictor
from fer_core.run.configuration import RunConfig
from fer_core.threads import network_threads

if TYPE_CHECKING:
    from fer_core.predict.predictor import Device


@dataclass(frozen=True, slots=True)
class WorkerModels:
    """A loaded detector and predictor."""

    detector: Detector
    predictor: FacePredictor
    together: FaceExtractor | None = None
    """Extractor for groups of images, on devices where this is faster."""

    def extractor(self, any_way_up: bool = False) -> FaceExtractor:
        """The extractor that detects and aligns faces. any_way_up: also in pictures that lie on their side or head."""
        upright = self.together or CpuFaceExtractor(self.detector, decode_side(self.detector))
        return TurningExtractor(upright, getattr(self.detector, "upright", ANY_FACE)) if any_way_up else upright


_lock = threading.Lock()
_thread = threading.local()


def load_worker_models(config: RunConfig) -> WorkerModels:
    """The models of a run. Loaded at a thread's first shard and cached until a run needs other models.

    One set per thread, because OpenCV's networks and the predictor are not thread-safe; workers have one thread each.
    DetectorError or ModelError if the loaded models differ from those of the run's configuration.
    """
    key = (config.detector, config.detector_identity, config.model, config.model_digest, config.device, config.prior, config.precision)
    kept: dict[tuple[str | float | None, ...], WorkerModels] = _thread.__dict__.setdefault("tools", {})
    if key not in kept:
        kept.clear()
        with _lock:
            kept[key] = _load(config)
    return kept[key]


@lru_cache(maxsize=1)
def prepare_process() -> None:
    """Import the libraries that every shard needs. OpenCV gets one thread: the workers are the parallelism."""
    import cv2

    import fer_core.decode.decoder

    if find_spec("onnxruntime") is not None:
        import fer_core.models.onnx_builder  # noqa: F401  (loads onnxruntime)
    cv2.setNumThreads(1)


def decode_side(detector: Detector) -> int | None:
    """Longest side at which a detector processes an image; it shrinks larger images first. None if unknown."""
    side = getattr(detector, "largest_side", None)
    return side if isinstance(side, int) else None


def predictor_for(config: RunConfig) -> FacePredictor:
    """The run's model ready on this worker's device: half precision and recorded graphs on a GPU, see `fer_core.gpu`.

    ModelError when what this machine loads is not what the run was planned with.
    """
    predictor = _predictor(config)
    if predictor.digest != config.model_digest:
        planned = f"the run was planned with {config.model_digest[:12]}"
        raise ModelError(f"model {config.model} is {predictor.digest[:12]} on this worker, {planned}")
    return predictor


def _predictor(config: RunConfig) -> FacePredictor:
    from fer_core.predict.answer_rule import AnswerOptions
    from fer_core.predict.predictor import load_predictor, on_cpu

    options = AnswerOptions(config.prior, config.precision)
    if on_cpu(cast("Device", config.device)):
        return load_predictor(config.model, "cpu", options)
    from fer_core.gpu.predictor import GpuPredictor

    return GpuPredictor(config.model, options=options)


def _load(config: RunConfig) -> WorkerModels:
    from fer_core.detect.registry import build

    prepare_process()
    predictor = predictor_for(config)
    detector = build(config.detector, "cpu")
    if detector.identity != config.detector_identity:
        planned = f"the run was planned with {config.detector_identity}"
        raise DetectorError(f"detector {config.detector} is {detector.identity} on this worker, {planned}")
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(network_threads())
    return WorkerModels(detector, predictor, group_extractor(config))


def group_extractor(config: RunConfig) -> FaceExtractor | None:
    """Extractor of the built-in detector on a GPU. None for other detectors, which process one image at a time on their own device."""
    from fer_core.predict.predictor import on_cpu

    if config.detector != "builtin" or on_cpu(cast("Device", config.device)):
        return None
    from fer_core.gpu.face_extractor import GpuFaceExtractor

    return GpuFaceExtractor()
