"""A DetectionNet ready to run: by ONNX Runtime on a CPU, by torch on another device."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.decode_outputs import Levels
from fer_core.detect.builtin.weights import incompatible_weights, load_detector, read_detector


class DetectorRuntime(Protocol):
    """See `DetectionNet.levels`. The outputs for a picture do not depend on the others of its batch."""

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], /) -> Levels:
        """(H, W, 3) RGB each, of one shape, sides multiples of 32."""
        ...


def load_runtime(file: Path, device: str) -> DetectorRuntime:
    """The runtime for the device. A CPU without ONNX Runtime gets the same results from torch, in twice the time.

    DetectorError: no such file, or not one of the built-in detector.
    """
    if device == "cpu" and find_spec("onnxruntime") is not None:
        from fer_core.detect.builtin.onnx import OnnxDetectorRuntime

        try:
            return OnnxDetectorRuntime(*read_detector(file))
        except (LookupError, ValueError, RuntimeError) as error:
            raise incompatible_weights(file, error) from error
    from fer_core.detect.builtin.torch_runtime import TorchDetectorRuntime

    return TorchDetectorRuntime(load_detector(file), device)
