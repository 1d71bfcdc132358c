"""What a worker keeps ready between shards: a detector and a predictor, checked against the digests the run was planned with."""

import sys
import threading
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

from fer_core.align.face_extractor import CpuFaceExtractor, FaceExtractor
from fer_core.detect.base import Detector
from fer_core.errors import DetectorError, ModelError
from fer_core.predict.base import FacePredictor
from fer_core.run import RunConfig
from fer_core.threads import network_threads

if TYPE_CHECKING:
    from fer_core.predict.predictor import Device


@dataclass(frozen=True, slots=True)
class WorkerModels:
    """A detector and a predictor that are ready to work."""

    detector: Detector
    predictor: FacePredictor
    together: FaceExtractor | None = None
    """Looks at many pictures at a time, where the device gains by it."""

    def extractor(self) -> FaceExtractor:
        """What finds and aligns faces."""
        return self.together or CpuFaceExtractor(self.detector, decode_side(self.detector))


_lock = threading.Lock()
_thread = threading.local()


def load_worker_models(config: RunConfig) -> WorkerModels:
    """The tools a run was planned with. Loaded at a thread's first shard, then kept until a run asks for others.

    One set a thread, since neither OpenCV's networks nor the predictor may serve two at once; workers have one thread each.
    DetectorError or ModelError when what this machine loads is not what the run was planned with.
    """
    key = (config.detector, config.detector_identity, config.model, config.model_digest, config.device)
    kept: dict[tuple[str, ...], WorkerModels] = _thread.__dict__.setdefault("tools", {})
    if key not in kept:
        kept.clear()
        with _lock:
            kept[key] = _load(config)
    return kept[key]


@lru_cache(maxsize=1)
def prepare_process() -> None:
    """Load what every shard needs, with one thread in OpenCV, because the workers themselves are the parallelism."""
    import cv2

    import fer_core.decode.decoder

    if find_spec("onnxruntime") is not None:
        import fer_core.models.onnx_builder  # noqa: F401  (the same)
    cv2.setNumThreads(1)


def decode_side(detector: Detector) -> int | None:
    """Longest side of a picture that a detector looks at as it is; it shrinks larger ones first. None where that is not known."""
    side = getattr(detector, "largest_side", None)
    return side if isinstance(side, int) else None


def predictor_for(model: str, device: str) -> FacePredictor:
    """A model ready on this worker's device: half precision and recorded graphs on a GPU, see `fer_core.gpu`."""
    from fer_core.predict.predictor import load_predictor, on_cpu

    if on_cpu(cast("Device", device)):
        return load_predictor(model, "cpu")
    from fer_core.gpu.predictor import GpuPredictor

    return GpuPredictor(model)


def _load(config: RunConfig) -> WorkerModels:
    from fer_core.detect.registry import build

    prepare_process()
    predictor = predictor_for(config.model, config.device)
    if predictor.digest != config.model_digest:
        planned = f"the run was planned with {config.model_digest[:12]}"
        raise ModelError(f"model {config.model} is {predictor.digest[:12]} on this worker, {planned}")
    detector = build(config.detector, "cpu")
    if detector.identity != config.detector_identity:
        planned = f"the run was planned with {config.detector_identity}"
        raise DetectorError(f"detector {config.detector} is {detector.identity} on this worker, {planned}")
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(network_threads())
    return WorkerModels(detector, predictor, _together(config))


def _together(config: RunConfig) -> FaceExtractor | None:
    """The built-in detector on a GPU; the other ones look one by one, wherever their libraries put them."""
    from fer_core.predict.predictor import on_cpu

    if config.detector != "builtin" or on_cpu(cast("Device", config.device)):
        return None
    from fer_core.gpu.face_extractor import GpuFaceExtractor

    return GpuFaceExtractor()
