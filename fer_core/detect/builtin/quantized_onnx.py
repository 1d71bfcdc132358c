"""A DetectionNet in 8-bit numbers for ONNX Runtime: 0.44 of the time of single precision on a CPU with VNNI.

Its ranges were recorded by `benchmarks/detector/training/ranges.py`. The last convolutions stay in single precision.
"""

import numpy as np

from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.graph_layers import GREY, write_layers
from fer_core.detect.builtin.onnx import INPUT, Tensors
from fer_core.models.onnx_builder import Attributes, Model
from fer_core.models.quantization import Ranges
from fer_core.models.quantized_graph import QuantizedGraph


def build_quantized(config: DetectionConfig, tensors: Tensors, ranges: Ranges) -> Model:
    """As `onnx.build_onnx`. KeyError: a tensor is missing. ranges: see `graph_layers.activations`."""
    writer = QuantizedLayers(tensors, ranges)
    with np.errstate(over="ignore", invalid="ignore"):  # as in `build_onnx`
        seen = write_layers(config, writer)
    return writer.graph.model(INPUT, seen, np.uint8)


class QuantizedLayers:
    """A `LayerWriter` of quantised convolutions and sums."""

    def __init__(self, tensors: Tensors, ranges: Ranges) -> None:
        self.graph = QuantizedGraph(ranges)
        self._tensors = tensors

    def first(self, layer: str) -> str:
        """See `LayerWriter`. The bytes are the quantised numbers."""
        x = self.graph.bytes_scaled(self.graph.permute("x", [0, 3, 1, 2]), 1 / GREY, GREY)
        return self._convolution(x, layer, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0] * 4}, rectified=True)

    def convolution(self, x: str, layer: str, stride: int = 1, *, rectified: bool = True) -> str:
        """See `LayerWriter`."""
        size = self._tensors[f"{layer}.weight"].shape[2]
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        return self._convolution(x, layer, attributes, rectified=rectified)

    def residual(self, x: str, inner: str, block: str) -> str:
        """See `LayerWriter`."""
        return self.graph.quantized(self.graph.relu(self.graph.add(x, inner)), block)

    def merged(self, finer: str, coarser: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self.graph.quantized(self.graph.add(finer, self.graph.doubled(coarser)), layer)

    def output(self, x: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self.graph.convolution(x, self._tensors[f"{layer}.weight"], self._tensors[f"{layer}.bias"])

    def _convolution(self, x: str, layer: str, attributes: Attributes, *, rectified: bool) -> str:
        done = self.graph.scaled_convolution(x, self._tensors[f"{layer}.weight"], self._tensors[f"{layer}.bias"], attributes)
        return self.graph.quantized(self.graph.relu(done) if rectified else done, layer)
