"""What a worker keeps ready between shards: a detector and a predictor, checked against the digests the run was planned with."""

import os
import sys
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.protocol import Detector
from fer_core.errors import DetectorError, ModelError
from fer_core.looker import Looker, OneByOne
from fer_core.run import RunConfig
from fer_core.types import Predictions

if TYPE_CHECKING:
    from fer_core.predict import Device


class FacePredictor(Protocol):
    """What a shard needs of a predictor; see `predict`."""

    digest: str

    def predict(self, crops: NDArray[np.uint8], /) -> Predictions:
        """(N, 112, 112, 3) RGB uint8 -> N answers, each of which depends on its own crop alone."""
        ...


@dataclass(frozen=True, slots=True)
class ShardTools:
    """A detector and a predictor that are ready to work."""

    detector: Detector
    predictor: FacePredictor
    together: Looker | None = None
    """Looks at many pictures at a time, where the device gains by it."""

    def looker(self) -> Looker:
        """What finds and aligns faces."""
        return self.together or OneByOne(self.detector, decode_side(self.detector))


_lock = threading.Lock()
_thread = threading.local()


def tools_for(config: RunConfig) -> ShardTools:
    """The tools a run was planned with. Loaded at a thread's first shard, then kept until a run asks for others.

    One set a thread, since neither OpenCV's networks nor the predictor may serve two at once; workers have one thread each.
    DetectorError or ModelError when what this machine loads is not what the run was planned with.
    """
    key = (config.detector, config.detector_identity, config.model, config.model_digest, config.device)
    kept: dict[tuple[str, ...], ShardTools] = _thread.__dict__.setdefault("tools", {})
    if key not in kept:
        kept.clear()
        with _lock:
            kept[key] = _load(config)
    return kept[key]


@lru_cache(maxsize=1)
def prepare_process() -> None:
    """One thread in OpenCV and in the network, because the workers themselves are the parallelism.

    FERFLOW_THREADS raises the network's share, for a worker that has many cores to itself.
    """
    import cv2  # noqa: PLC0415  (a process that only plans and commits needs neither)
    import torch  # noqa: PLC0415

    cv2.setNumThreads(1)
    torch.set_num_threads(int(os.environ.get("FERFLOW_THREADS", "1")))


def decode_side(detector: Detector) -> int | None:
    """Longest side of a picture that a detector looks at as it is; it shrinks larger ones first. None where that is not known."""
    side = getattr(detector, "largest_side", None)
    return side if isinstance(side, int) else None


def decoders(config: RunConfig) -> int:
    """Threads of a worker that decode pictures ahead.

    One where the worker computes on a CPU, which is its own: more would take time from its neighbours. Where a GPU computes, all cores of
    the machine, shared with the workers of its other GPUs. FERFLOW_DECODERS says otherwise; with 0 the worker's own thread decodes.
    """
    told = os.environ.get("FERFLOW_DECODERS")
    if told:
        return max(0, int(told))
    torch = sys.modules.get("torch")
    gpus = torch.cuda.device_count() if torch is not None and config.device != "cpu" else 0
    return max(1, len(os.sched_getaffinity(0)) // gpus) if gpus else 1


def _load(config: RunConfig) -> ShardTools:
    from fer_core.detect.choice import build  # noqa: PLC0415  (loads OpenCV)
    from fer_core.predict import load_predictor, torch_device  # noqa: PLC0415  (loads torch)

    prepare_process()
    predictor = load_predictor(config.model, cast("Device", config.device))
    if predictor.digest != config.model_digest:
        planned = f"the run was planned with {config.model_digest[:12]}"
        raise ModelError(f"model {config.model} is {predictor.digest[:12]} on this worker, {planned}")
    detector = build(config.detector, torch_device(cast("Device", config.device)).type)
    if detector.identity != config.detector_identity:
        planned = f"the run was planned with {config.detector_identity}"
        raise DetectorError(f"detector {config.detector} is {detector.identity} on this worker, {planned}")
    return ShardTools(detector, predictor)
