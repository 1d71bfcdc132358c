"""A DetectionNet for ONNX Runtime on CPUs. Its input is bytes: the normalisation x / 128 - 1 is folded into the first weights."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.decode_outputs import Levels, finite
from fer_core.models.onnx_builder import Graph, Model, Session

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]

GREY: Final = 128
"""What is 0 to the network."""


class OnnxDetectorRuntime:
    """A `DetectorRuntime` with the threads of `onnx_builder.Session`."""

    def __init__(self, config: DetectionConfig, tensors: Tensors) -> None:
        """tensors: of a network without batch norm, as `weights.read_detector` gives them. KeyError: one is missing."""
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that are too large are found when the graph is written
            model = build_onnx(config, tensors)
        self._session = Session(model)

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Levels:
        """See `DetectorRuntime`."""
        return finite(self._session(framed(pictures)))


def framed(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(H, W, 3) each -> (B, H + 1, W + 1, 3): a first row and column of grey, in place of the first convolution's zero padding."""
    height, width = pictures[0].shape[:2]
    stacked = np.full((len(pictures), height + 1, width + 1, 3), GREY, np.uint8)
    for index, picture in enumerate(pictures):
        stacked[index, 1:, 1:] = picture
    return stacked


def build_onnx(config: DetectionConfig, tensors: Tensors) -> Model:
    """The graph from (B, H + 1, W + 1, 3) bytes, framed as `OnnxDetectorRuntime` does it, to `Levels`. KeyError: a tensor is missing."""
    graph, layers, stages = Graph(), _Layers(tensors), list[str]()
    x = _first(graph, *layers.of("stem.0.conv"), graph.node("Cast", [graph.permute("x", [0, 3, 1, 2])], {"to": Graph.FLOAT}))
    x = graph.relu(graph.convolution(x, *layers.of("stem.1.conv"), 2))
    for stage, blocks in enumerate(config.blocks):
        x = graph.relu(graph.convolution(x, *layers.of(f"stages.{stage}.down.conv"), 2))
        for block in range(blocks):
            name = f"stages.{stage}.blocks.{block}"
            inner = graph.relu(graph.convolution(x, *layers.of(f"{name}.first.conv")))
            x = graph.relu(graph.add(x, graph.convolution(inner, *layers.of(f"{name}.second.conv"))))
        stages.append(x)
    mixed, seen = "", list[str]()
    for level in (2, 1, 0):
        finer = graph.convolution(stages[level], *layers.of(f"lateral.{level}"))
        mixed = graph.add(finer, _twice(graph, mixed)) if mixed else finer
        head = graph.relu(graph.convolution(mixed, *layers.of(f"heads.{level}.conv")))
        seen.insert(0, graph.convolution(head, *layers.of(f"outputs.{level}")))
    return graph.model(["pictures", "height", "width", 3], seen, np.uint8)


class _Layers:
    """Weight and bias of convolutions."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors

    def of(self, name: str) -> tuple[Floats, Floats]:
        """By the name of the module."""
        return self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"]


def _first(graph: Graph, weight: Floats, bias: Floats, x: str) -> str:
    """Over bytes with a row and a column before them; strides of 2 never reach beyond the last ones of an even side."""
    exact = weight.astype(np.float64)
    inputs = [x, graph.constant((exact / GREY).astype(np.float32)), graph.constant((bias - exact.sum(axis=(1, 2, 3))).astype(np.float32))]
    return graph.relu(graph.node("Conv", inputs, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 0, 0]}))


def _twice(graph: Graph, x: str) -> str:
    """Every value four times: nearest neighbours at twice the size."""
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", [x, "", graph.constant(np.array([1, 1, 2, 2], np.float32))], how)
