"""A DetectionNet ready to run: by ONNX Runtime on a CPU, by torch on another device."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.decode_outputs import Levels
from fer_core.detect.builtin.weights import incompatible_weights, load_detector, read_detector, read_ranges


class DetectorRuntime(Protocol):
    """See `DetectionNet.levels`. The outputs for a picture do not depend on the others of its batch."""

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], /) -> Levels:
        """(H, W, 3) RGB each, of one shape, sides multiples of 32."""
        ...


def load_runtime(file: Path, device: str, *, quantized: bool = False) -> DetectorRuntime:
    """The runtime for the device. A CPU without ONNX Runtime gets the results of single precision from torch, in twice the time.

    quantized: in 8-bit numbers where the device is a CPU with ONNX Runtime and the file has their ranges.
    DetectorError: no such file, or not one of the built-in detector.
    """
    if device == "cpu" and find_spec("onnxruntime") is not None:
        from fer_core.detect.builtin.onnx import OnnxDetectorRuntime, build_onnx
        from fer_core.detect.builtin.quantized_onnx import COLUMNS, build_quantized

        ranges = read_ranges(file) if quantized else {}
        config, tensors = read_detector(file)
        try:
            if ranges:
                return OnnxDetectorRuntime(build_quantized(config, tensors, ranges), COLUMNS)
            return OnnxDetectorRuntime(build_onnx(config, tensors))
        except (LookupError, ValueError, RuntimeError) as error:
            raise incompatible_weights(file, error) from error
    from fer_core.detect.builtin.torch_runtime import TorchDetectorRuntime

    return TorchDetectorRuntime(load_detector(file), device)
