"""A MultiscaleNet as ONNX Runtime runs it on CPUs: batch norms folded, mirror images in the same batch."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fer_core.fusion import fused
from fer_core.network import HEADS, WINDOW_LEFT, WINDOW_SIZE, WINDOW_TOP, ChannelAttention, MultiscaleNet, ResidualBlock
from fer_core.onnx_graph import RUNTIME, Attributes, Graph, Model, Session

LUMA: Final = (np.float32(0.299), np.float32(0.587), np.float32(0.114))
FLOOR: Final = 4.0
"""Grey levels added to a face's deviation, as in `network.standardised`."""
BATCH: Final = 16
"""Faces that pass together, mirrored or not: more need more memory and gain nothing."""
LEAST: Final = 2
"""A batch of one goes another way through the runtime's matrix products, which rounds differently."""

Floats = NDArray[np.float32]


class NetworkSession:
    """Logits of faces on a CPU. What it says of a face does not depend on the others."""

    def __init__(self, network: MultiscaleNet, *, mirrored: bool) -> None:
        """network: in evaluation mode; it is not kept. mirrored: average with the mirror image's logits."""
        self._session = Session(written(network, mirrored=mirrored))
        self._classes = len(network.config.classes)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, K)."""
        parts = [self._some(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        return np.concatenate([np.zeros((0, self._classes), np.float64), *parts])

    def _some(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        windows = window(crops)
        if len(windows) < LEAST:
            windows = np.concatenate([windows, np.zeros_like(windows)])
        return self._session(windows)[0][: len(crops)].astype(np.float64)


def window(crops: NDArray[np.uint8]) -> Floats:
    """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, 1, 96, 96) luma of what the network looks at, 0 to 255."""
    seen = crops[:, WINDOW_TOP : WINDOW_TOP + WINDOW_SIZE, WINDOW_LEFT : WINDOW_LEFT + WINDOW_SIZE]
    if crops.ndim == 3:
        return seen[:, None].astype(np.float32)
    red, green, blue = (seen[..., channel] * weight for channel, weight in enumerate(LUMA))
    return np.asarray(red + green + blue, np.float32)[:, None]


@torch.no_grad()
def written(network: MultiscaleNet, *, mirrored: bool) -> Model:
    """The graph from (N, 1, 96, 96) `window` to (N, K) logits."""
    graph, network = Graph(), fused(network)
    x = _standardised(graph, network.config.scale)
    if mirrored:
        axis, start, end, step = (graph.constant(np.array([value], np.int64)) for value in (3, -1, np.iinfo(np.int64).min, -1))
        x = graph.node("Concat", [x, graph.node("Slice", [x, start, end, axis, step])], {"axis": 0})
    said = _classified(graph, network, _scales(graph, network, x))
    if mirrored:
        both = graph.node("ReduceMean", [graph.reshape(said, [2, -1, len(network.config.classes)])], {"axes": [0], "keepdims": 0})
        return graph.model(["faces", 1, WINDOW_SIZE, WINDOW_SIZE], [both])
    return graph.model(["faces", 1, WINDOW_SIZE, WINDOW_SIZE], [said])


def _standardised(graph: Graph, scale: int) -> str:
    """As `network.standardised`, on the window."""
    small = graph.node("AveragePool", ["x"], {"kernel_shape": [scale, scale], "strides": [scale, scale]}) if scale > 1 else "x"
    axes: Attributes = {"axes": [1, 2, 3], "keepdims": 1}
    off = graph.node("Sub", [small, graph.node("ReduceMean", [small], axes)])
    deviation = graph.node("Sqrt", [graph.node("ReduceMean", [graph.node("Mul", [off, off])], axes)])
    return graph.node("Div", [off, graph.add(deviation, graph.constant(np.array(FLOOR, np.float32)))])


def _scales(graph: Graph, network: MultiscaleNet, x: str) -> list[str]:
    """What each tap says, (B, length)."""
    side = WINDOW_SIZE // network.config.scale
    x = graph.relu(_convolved(graph, network.stem[0], x))
    scales = []
    for index, stage in enumerate(network.stages):
        assert isinstance(stage, nn.Sequential)
        for block in stage:
            x = _block(graph, block, x)
        side = -(-side // 2)
        if index in network.config.taps:
            scales.append(graph.node("ReduceMean", [x], {"axes": [2, 3], "keepdims": 0}))
            if network.config.attention:
                scales.append(_attention(graph, network.attention[network.config.taps.index(index)], x, side))
    return scales


def _block(graph: Graph, block: nn.Module, x: str) -> str:
    assert isinstance(block, ResidualBlock)
    y = _convolved(graph, block.conv2, graph.relu(_convolved(graph, block.conv1, x)))
    return graph.relu(graph.add(y, _convolved(graph, block.shortcut[0], x) if len(block.shortcut) else x))


def _convolved(graph: Graph, layer: nn.Module, x: str) -> str:
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    return graph.convolution(x, _array(layer.weight), _array(layer.bias), layer.stride[0])


def _attention(graph: Graph, layer: nn.Module, x: str, side: int) -> str:
    """As `ChannelAttention.forward`; x: (B, C, side, side)."""
    assert isinstance(layer, ChannelAttention)
    width = layer.identity.shape[1]
    cells = graph.linear(graph.reshape(x, [0, 0, -1]), cells_of(side, layer.grid))
    norm = [graph.constant(_array(layer.norm.weight)), graph.constant(_array(layer.norm.bias))]
    normed = graph.node("LayerNormalization", [cells, *norm], {"axis": -1, "epsilon": layer.norm.eps})
    tokens = graph.linear(normed, _array(layer.tokens.weight), _array(layer.tokens.bias))
    tokens = graph.add(tokens, graph.constant(_array(layer.identity)))
    weights, biases = np.split(_array(layer.query_key_value.weight), 3), np.split(_array(layer.query_key_value.bias), 3)
    q, k, v = (graph.linear(tokens, weight, bias) for weight, bias in zip(weights, biases, strict=True))
    attended = graph.node("MultiHeadAttention", [q, k, v], {"num_heads": HEADS}, RUNTIME)
    tokens = graph.add(tokens, graph.linear(attended, _array(layer.out.weight), _array(layer.out.bias)))
    return graph.reshape(_compressed(graph, _array(layer.queries), tokens, width), [0, -1])


def _compressed(graph: Graph, queries: Floats, tokens: str, width: int) -> str:
    """(Q, width) and (B, C, width) -> (B, Q, width): softmax(queries tokens^T / sqrt(width)) tokens."""
    alike = graph.node("MatMul", [graph.constant(queries * np.float32(width**-0.5)), graph.permute(tokens, [0, 2, 1])])
    return graph.node("MatMul", [graph.node("Softmax", [alike], {"axis": -1}), tokens])


def cells_of(side: int, grid: int) -> Floats:
    """(grid * grid, side * side): what averages a map of side x side onto a grid, as torch's adaptive average pooling does."""
    low, high = np.arange(grid) * side // grid, -(-(np.arange(grid) + 1) * side // grid)
    inside = (np.arange(side) >= low[:, None]) & (np.arange(side) < high[:, None])
    line = inside / inside.sum(axis=1, keepdims=True)
    return np.kron(line, line).astype(np.float32)


def _classified(graph: Graph, network: MultiscaleNet, scales: list[str]) -> str:
    """Everything from the fused vector to the embedding is one affine map; then the class vectors, as in `MultiscaleNet.logits`."""
    weight, bias = _embedding(network)
    embedding = graph.linear(graph.node("Concat", scales, {"axis": 1}), weight, bias)
    centers = _array(network.centers)
    if network.config.classifier == "linear":
        return graph.linear(embedding, centers)
    length = graph.node("ReduceL2", [embedding], {"axes": [1], "keepdims": 1})
    unit = graph.node("Div", [embedding, graph.node("Max", [length, graph.constant(np.array(1e-12, np.float32))])])
    centers = centers / np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-12)
    return graph.linear(unit, (network.config.logit_scale * centers).astype(np.float32))


def _embedding(network: MultiscaleNet) -> tuple[Floats, Floats]:
    """(E, F) and (E,): batch norm, linear layer, batch norm."""
    first, layer, last = network.fuse[0], network.fuse[2], network.norm
    assert isinstance(first, nn.BatchNorm1d)
    assert isinstance(layer, nn.Linear)
    gain, shift = _affine(first)
    out_gain, out_shift = _affine(last)
    weight = layer.weight.detach().double().numpy()
    return (out_gain[:, None] * weight * gain).astype(np.float32), (out_gain * (weight @ shift) + out_shift).astype(np.float32)


def _affine(norm: nn.BatchNorm1d) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a batch norm multiplies by and adds, in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return gain.numpy(), (norm.bias.detach().double() - norm.running_mean.double() * gain).numpy()


def _array(tensor: torch.Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
