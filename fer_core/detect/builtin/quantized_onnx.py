"""A DetectionNet in 8-bit numbers for ONNX Runtime: 0.36 of the time of single precision on a CPU with VNNI.

Its ranges were recorded by `benchmarks/detector/training/ranges.py`. The last convolutions stay in single precision.
"""

from typing import Final

import numpy as np

from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.graph_layers import GREY, write_layers
from fer_core.detect.builtin.onnx import Floats, Tensors
from fer_core.models.onnx_builder import Attributes, Model
from fer_core.models.quantization import Ranges
from fer_core.models.quantized_graph import QuantizedGraph


def build_quantized(config: DetectionConfig, tensors: Tensors, ranges: Ranges) -> Model:
    """As `onnx.build_onnx`, over blocks of `COLUMNS` pixels. KeyError: a tensor is missing. ranges: see `graph_layers.activations`."""
    writer = QuantizedLayers(tensors, ranges)
    with np.errstate(over="ignore", invalid="ignore"):  # as in `build_onnx`
        seen = write_layers(config, writer)
    return writer.graph.model(("pictures", "height", "blocks", 3 * COLUMNS), seen, np.uint8)


COLUMNS: Final = 4
"""Neighbouring pixels that the first convolution reads as one, see `of_blocks`."""


class QuantizedLayers:
    """A `LayerWriter` of quantised convolutions and sums."""

    def __init__(self, tensors: Tensors, ranges: Ranges) -> None:
        self.graph = QuantizedGraph(ranges)
        self._tensors = tensors

    def stem(self, first: str, second: str) -> str:
        """See `LayerWriter`. The bytes are the quantised numbers. The numbers are those of plain convolutions, in less time."""
        x = self.graph.bytes_scaled(self.graph.permute("x", [0, 3, 1, 2]), 1 / GREY, GREY)
        (weight, bias), strides = self._of(first), [2, 1]
        attributes: Attributes = {"kernel_shape": [3, 2], "strides": strides, "pads": [0] * 4}
        pairs = self._convolution(x, first, (of_blocks(weight), np.tile(bias, 2)), attributes)
        (weight, bias), pads = self._of(second), [1, 1, 1, 0]
        return self._convolution(pairs, second, (of_pairs(weight), bias), {"kernel_shape": [3, 2], "strides": strides, "pads": pads})

    def convolution(self, x: str, layer: str, stride: int = 1, *, rectified: bool = True) -> str:
        """See `LayerWriter`."""
        size = self._tensors[f"{layer}.weight"].shape[2]
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        return self._convolution(x, layer, self._of(layer), attributes, rectified=rectified)

    def residual(self, x: str, inner: str, block: str) -> str:
        """See `LayerWriter`."""
        return self.graph.quantized(self.graph.relu(self.graph.add(x, inner)), block)

    def merged(self, finer: str, coarser: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self.graph.quantized(self.graph.add(finer, self.graph.doubled(coarser)), layer)

    def output(self, x: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self.graph.convolution(x, *self._of(layer))

    def _convolution(self, x: str, layer: str, weights: tuple[Floats, Floats], attributes: Attributes, *, rectified: bool = True) -> str:
        done = self.graph.scaled_convolution(x, *weights, attributes)
        return self.graph.quantized(self.graph.relu(done) if rectified else done, layer)

    def _of(self, layer: str) -> tuple[Floats, Floats]:
        return self._tensors[f"{layer}.weight"], self._tensors[f"{layer}.bias"]


def of_blocks(weight: Floats) -> Floats:
    """(O, I, 3, 3) of stride 2 -> (2 * O, COLUMNS * I, 3, 2) over blocks of `COLUMNS` pixels: the outputs at the first and at the third.

    ONNX Runtime copies what a convolution reads, place by place; of three channels that takes longer than the products.
    """
    out, channels = weight.shape[:2]
    blocks = np.zeros((2, out, 2, COLUMNS, channels, 3), weight.dtype)
    for half in range(2):
        for column in range(3):
            block, place = divmod(2 * half + column, COLUMNS)
            blocks[half, :, block, place] = weight[:, :, :, column]
    return blocks.transpose(0, 1, 3, 4, 5, 2).reshape(2 * out, COLUMNS * channels, 3, 2)


def of_pairs(weight: Floats) -> Floats:
    """(O, I, 3, 3) of stride 2 -> (O, 2 * I, 3, 2) over pairs of neighbours: the second of the pair before, and both of its own."""
    before, first, second = (weight[..., column] for column in range(3))
    return np.stack([np.concatenate([np.zeros_like(before), before], axis=1), np.concatenate([first, second], axis=1)], axis=3)
