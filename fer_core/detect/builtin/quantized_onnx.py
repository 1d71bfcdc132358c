"""A DetectionNet in 8-bit numbers for ONNX Runtime: 0.44 of the time of single precision on a CPU with VNNI.

Weights are scaled by output channel (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018); activations by the ranges that were recorded on pictures (`benchmarks/detector/training/ranges.py`). The last
convolutions stay in single precision.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.graph_layers import GREY, write_layers
from fer_core.detect.builtin.onnx import INPUT, Floats, Tensors
from fer_core.models.onnx_builder import Attributes, Graph, Model

Ranges = Mapping[str, tuple[float, float]]
"""Least and largest activation by layer, see `graph_layers.activations`."""

WEIGHT_LIMIT: Final = 63
"""Seven bits: a sum of two products of an activation and a weight fits 16 bits, so CPUs without VNNI, which add such pairs first, give the
same numbers as those with it."""
ACTIVATION_STEPS: Final = 255
BIAS_STEPS: Final = 2**30
"""Largest bias; what is added to it has as much room."""
SMALLEST_SCALE: Final = 1e-25
"""Of a channel without weights: times that of any activation it is no subnormal number."""


def build_quantized(config: DetectionConfig, tensors: Tensors, ranges: Ranges) -> Model:
    """As `onnx.build_onnx`. KeyError: a tensor or a range is missing."""
    writer = QuantizedLayers(tensors, ranges)
    with np.errstate(over="ignore", invalid="ignore"):  # as in `build_onnx`
        seen = write_layers(config, writer)
    return writer.graph.model(INPUT, seen, np.uint8)


class QuantizedLayers:
    """A `LayerWriter` of quantised convolutions and sums."""

    def __init__(self, tensors: Tensors, ranges: Ranges) -> None:
        self.graph = Graph()
        self._tensors, self._ranges = tensors, ranges
        self._scales: dict[str, float] = {}
        """Of values in the graph."""

    def first(self, layer: str) -> str:
        """See `LayerWriter`. The bytes are the quantised numbers."""
        graph = self.graph
        pixels = graph.permute("x", [0, 3, 1, 2])
        steps = [graph.constant(np.array(1 / GREY, np.float32)), graph.constant(np.array(GREY, np.uint8))]
        x = graph.node("DequantizeLinear", [pixels, *steps])
        self._scales[x] = 1 / GREY
        return self._convolution(x, layer, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0] * 4}, rectified=True)

    def convolution(self, x: str, layer: str, stride: int = 1, *, rectified: bool = True) -> str:
        """See `LayerWriter`."""
        size = self._tensors[f"{layer}.weight"].shape[2]
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        return self._convolution(x, layer, attributes, rectified=rectified)

    def residual(self, x: str, inner: str, block: str) -> str:
        """See `LayerWriter`."""
        return self._quantized(self.graph.relu(self.graph.add(x, inner)), block)

    def merged(self, finer: str, coarser: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self._quantized(self.graph.add(finer, self.graph.doubled(coarser)), layer)

    def output(self, x: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self.graph.convolution(x, self._tensors[f"{layer}.weight"], self._tensors[f"{layer}.bias"])

    def _convolution(self, x: str, layer: str, attributes: Attributes, *, rectified: bool) -> str:
        weight, bias = self._tensors[f"{layer}.weight"], self._tensors[f"{layer}.bias"]
        needed = np.abs(bias) / (BIAS_STEPS * self._scales[x])  # so that the bias fits, of channels with small weights too
        scales = np.maximum(np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / WEIGHT_LIMIT, needed), SMALLEST_SCALE).astype(np.float32)
        whole = np.rint(weight / scales[:, None, None, None]).astype(np.int8)
        sums = (scales.astype(np.float64) * self._scales[x]).astype(np.float32)
        offset = np.rint(bias / sums.astype(np.float64)).astype(np.int32)
        done = self.graph.node("Conv", [x, self._by_channel(whole, scales), self._by_channel(offset, sums)], attributes)
        return self._quantized(self.graph.relu(done) if rectified else done, layer)

    def _by_channel(self, numbers: NDArray[np.int8] | NDArray[np.int32], scales: Floats) -> str:
        zeros = np.zeros(len(scales), numbers.dtype)
        inputs = [self.graph.constant(array) for array in (numbers, scales, zeros)]
        return self.graph.node("DequantizeLinear", inputs, {"axis": 0})

    def _quantized(self, x: str, layer: str) -> str:
        """In the 256 steps of the layer's range."""
        low, high = self._ranges[layer]
        scale = (high - low) / ACTIVATION_STEPS
        constants = np.array(scale, np.float32), np.array(round(-low / scale), np.uint8)
        steps = [self.graph.constant(array) for array in constants]
        out = self.graph.node("DequantizeLinear", [self.graph.node("QuantizeLinear", [x, *steps]), *steps])
        self._scales[out] = float(np.float32(scale))
        return out
