"""A DetectionNet for ONNX Runtime on CPUs. Its input is bytes: the normalisation x / 128 - 1 is folded into the first weights."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.decode_outputs import Levels, finite
from fer_core.detect.builtin.graph_layers import GREY, write_layers
from fer_core.models.onnx_builder import Graph, Model, Session

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]

INPUT: Final = ("pictures", "height", "width", 3)


class OnnxDetectorRuntime:
    """A `DetectorRuntime` with the threads of `onnx_builder.Session`."""

    def __init__(self, model: Model, columns: int = 1) -> None:
        """model: of `build_onnx` or, with as many `columns` as it reads at once, of `quantized_onnx.build_quantized`."""
        self._session, self._columns = Session(model), columns

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Levels:
        """See `DetectorRuntime`."""
        return finite(self._session(framed(pictures, self._columns)))


def framed(pictures: Sequence[NDArray[np.uint8]], columns: int = 1) -> NDArray[np.uint8]:
    """(H, W, 3) each -> (B, H + 1, W / columns + 1, 3 * columns): so many neighbouring pixels are the channels of one.

    A first row and column of grey stand in place of the first convolution's zero padding, and grey fills the last columns.
    """
    height, width = pictures[0].shape[:2]
    stacked = np.full((len(pictures), height + 1, width + columns, 3), GREY, np.uint8)
    for index, picture in enumerate(pictures):
        stacked[index, 1:, 1 : width + 1] = picture
    return stacked.reshape(len(pictures), height + 1, -1, 3 * columns)


def build_onnx(config: DetectionConfig, tensors: Tensors) -> Model:
    """The graph from (B, H + 1, W + 1, 3) bytes, framed as `OnnxDetectorRuntime` does it, to `Levels`.

    tensors: of a network without batch norm, as `weights.read_detector` gives them. KeyError: one is missing.
    """
    writer = FloatLayers(tensors)
    with np.errstate(over="ignore", invalid="ignore"):  # numbers that are too large are found when the graph is written
        seen = write_layers(config, writer)
    return writer.graph.model(INPUT, seen, np.uint8)


class FloatLayers:
    """A `LayerWriter` in single precision."""

    def __init__(self, tensors: Tensors) -> None:
        self.graph = Graph()
        self._tensors = tensors

    def stem(self, first: str, second: str) -> str:
        """See `LayerWriter`."""
        return self.convolution(self.first(first), second, 2)

    def first(self, layer: str) -> str:
        """The first convolution and a ReLU, over the bytes of `framed`: strides of 2 never reach beyond the last ones of an even side."""
        weight, bias = self.of(layer)
        x = self.graph.node("Cast", [self.graph.permute("x", [0, 3, 1, 2])], {"to": Graph.FLOAT})
        exact = weight.astype(np.float64)
        constants = (exact / GREY).astype(np.float32), (bias - exact.sum(axis=(1, 2, 3))).astype(np.float32)
        inputs = [x, *(self.graph.constant(array) for array in constants)]
        return self.graph.relu(self.graph.node("Conv", inputs, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 0, 0]}))

    def convolution(self, x: str, layer: str, stride: int = 1, *, rectified: bool = True) -> str:
        """See `LayerWriter`."""
        done = self.graph.convolution(x, *self.of(layer), stride)
        return self.graph.relu(done) if rectified else done

    def residual(self, x: str, inner: str, block: str) -> str:
        """See `LayerWriter`."""
        return self.graph.relu(self.graph.add(x, inner))

    def merged(self, finer: str, coarser: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self.graph.add(finer, self.graph.doubled(coarser))

    def output(self, x: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self.convolution(x, layer, rectified=False)

    def of(self, layer: str) -> tuple[Floats, Floats]:
        """Weight and bias of a convolution."""
        return self._tensors[f"{layer}.weight"], self._tensors[f"{layer}.bias"]
