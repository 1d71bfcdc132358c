"""A DetectionNet as ONNX Runtime runs it on CPUs. It takes bytes: the network's first line, x / 128 - 1, is in its first weights."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from fer_core.detect.detection_net import Convolution, DetectionNet, Residual, Stage
from fer_core.detect.places import Levels
from fer_core.onnx_graph import Graph, Model, Session

GREY: Final = 128
"""What is 0 to the network."""


class CpuEyes:
    """An `Eyes` with as many threads as `onnx_graph.threads` says."""

    def __init__(self, network: DetectionNet) -> None:
        """network: without batch norm, in evaluation mode; it is not kept."""
        self._session = Session(written(network))

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Levels:
        """See `Eyes`."""
        return self._session(framed(pictures))


def framed(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """(H, W, 3) each -> (B, H + 1, W + 1, 3): a first row and column of grey stand for the zeros that the first convolution sees there."""
    height, width = pictures[0].shape[:2]
    stacked = np.full((len(pictures), height + 1, width + 1, 3), GREY, np.uint8)
    for index, picture in enumerate(pictures):
        stacked[index, 1:, 1:] = picture
    return stacked


def written(network: DetectionNet) -> Model:
    """The graph from (B, H + 1, W + 1, 3) bytes, framed as `CpuEyes` does it, to `Levels`."""
    graph, stages = Graph(), []
    x = _first(graph, network.stem[0], graph.node("Cast", [graph.permute("x", [0, 3, 1, 2])], {"to": Graph.FLOAT}))
    x = _convolved(graph, network.stem[1], x)
    for stage in network.stages:
        assert isinstance(stage, Stage)
        x = _convolved(graph, stage.down, x)
        for block in stage.blocks:
            assert isinstance(block, Residual)
            inner = _convolved(graph, block.first, x)
            x = graph.relu(graph.add(x, _plain(graph, block.second.conv, inner)))
        stages.append(x)
    mixed, seen = "", list[str]()
    for level in (2, 1, 0):
        finer = _plain(graph, network.lateral[level], stages[level])
        mixed = graph.add(finer, _twice(graph, mixed)) if mixed else finer
        seen.insert(0, _plain(graph, network.outputs[level], _convolved(graph, network.heads[level], mixed)))
    return graph.model(["pictures", "height", "width", 3], seen, np.uint8)


def _first(graph: Graph, layer: nn.Module, x: str) -> str:
    """Over bytes with a row and a column before them; strides of 2 never reach beyond the last ones of an even side."""
    assert isinstance(layer, Convolution)
    assert layer.conv.bias is not None
    weight = layer.conv.weight.detach().double().numpy()
    bias = layer.conv.bias.detach().double().numpy() - weight.sum(axis=(1, 2, 3))
    inputs = [x, graph.constant((weight / GREY).astype(np.float32)), graph.constant(bias.astype(np.float32))]
    return graph.relu(graph.node("Conv", inputs, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 0, 0]}))


def _twice(graph: Graph, x: str) -> str:
    """Every value four times: nearest neighbours at twice the size."""
    how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", [x, "", graph.constant(np.array([1, 1, 2, 2], np.float32))], how)


def _convolved(graph: Graph, layer: nn.Module, x: str) -> str:
    """A `Convolution` without batch norm, and its ReLU."""
    assert isinstance(layer, Convolution)
    return graph.relu(_plain(graph, layer.conv, x))


def _plain(graph: Graph, layer: nn.Module, x: str) -> str:
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    return graph.convolution(x, layer.weight.detach().numpy(), layer.bias.detach().numpy(), layer.stride[0])
