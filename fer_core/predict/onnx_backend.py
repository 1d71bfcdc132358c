"""A MultiscaleNet for ONNX Runtime on CPUs: batch norms folded, mirror images in the same batch. Needs no torch."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.models.network_config import HEADS, WINDOW_LEFT, WINDOW_SIZE, WINDOW_TOP, NetworkConfig
from fer_core.models.onnx_builder import RUNTIME, Attributes, Model, Session
from fer_core.models.quantization import Ranges
from fer_core.models.quantized_graph import QuantizedGraph

LUMA: Final = (np.float32(0.299), np.float32(0.587), np.float32(0.114))
FLOOR: Final = 4.0
"""Grey levels added to a face's deviation, as in `network.standardised`."""
EPSILON: Final = 1e-5
"""Added to variances by torch's norms."""
BATCH: Final = 16
"""Faces of a batch, mirrored or not: more need more memory and gain nothing."""
LEAST: Final = 2
"""A batch of one takes another path through the runtime's matrix products, which rounds differently."""

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]
"""By the names of `MultiscaleNet.state_dict`."""


class NetworkSession:
    """Logits of faces on a CPU. The result of a face does not depend on the others."""

    def __init__(self, config: NetworkConfig, tensors: Tensors, ranges: Ranges | None = None, *, mirrored: bool) -> None:
        """ranges: of the activations, for eight bits. mirrored: average with the mirror image's logits.

        KeyError or ValueError where the tensors are not those of such a network.
        """
        with np.errstate(over="ignore", invalid="ignore"):  # numbers that are too large are found when the graph is written
            model = build_onnx(config, tensors, ranges, mirrored=mirrored)
        self._session = Session(model)
        self._classes = len(config.classes)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, K)."""
        parts = [self._some(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        return np.concatenate([np.zeros((0, self._classes), np.float64), *parts])

    def _some(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        windows = network_window(crops)
        if len(windows) < LEAST:
            windows = np.concatenate([windows, np.zeros_like(windows)])
        return self._session(windows)[0][: len(crops)].astype(np.float64)


def network_window(crops: NDArray[np.uint8]) -> Floats:
    """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, 1, 96, 96) luma of the network's window, 0 to 255."""
    seen = crops[:, WINDOW_TOP : WINDOW_TOP + WINDOW_SIZE, WINDOW_LEFT : WINDOW_LEFT + WINDOW_SIZE]
    if crops.ndim == 3:
        return seen[:, None].astype(np.float32)
    red, green, blue = (seen[..., channel] * weight for channel, weight in enumerate(LUMA))
    return np.asarray(red + green + blue, np.float32)[:, None]


def build_onnx(config: NetworkConfig, tensors: Tensors, ranges: Ranges | None = None, *, mirrored: bool) -> Model:
    """The graph from (N, 1, 96, 96) `network_window` to (N, K) logits.

    ranges: of `config.activations()`: the convolutions behind the first are computed in eight bits. None: in single precision.
    """
    graph = _Network(config, tensors, ranges or {})
    x = graph.standardised()
    if mirrored:
        axis, start, end, step = (graph.constant(np.array([value], np.int64)) for value in (3, -1, np.iinfo(np.int64).min, -1))
        x = graph.node("Concat", [x, graph.node("Slice", [x, start, end, axis, step])], {"axis": 0})
    said = graph.classified(graph.scales(x))
    if mirrored:
        both = graph.reshape(said, [2, -1, len(config.classes)])
        said = graph.node("ReduceMean", [both], {"axes": [0], "keepdims": 0})
    return graph.model(["faces", 1, WINDOW_SIZE, WINDOW_SIZE], [said])


class _Network(QuantizedGraph):
    """Its parts, in the order of computation."""

    def __init__(self, config: NetworkConfig, tensors: Tensors, ranges: Ranges) -> None:
        super().__init__(ranges)
        self._config, self._tensors = config, tensors

    def standardised(self) -> str:
        """As `network.standardised`, on the window."""
        scale = self._config.scale
        small = self.node("AveragePool", ["x"], {"kernel_shape": [scale, scale], "strides": [scale, scale]}) if scale > 1 else "x"
        axes: Attributes = {"axes": [1, 2, 3], "keepdims": 1}
        off = self.node("Sub", [small, self.node("ReduceMean", [small], axes)])
        deviation = self.node("Sqrt", [self.node("ReduceMean", [self.node("Mul", [off, off])], axes)])
        return self.node("Div", [off, self.add(deviation, self.constant(np.array(FLOOR, np.float32)))])

    def scales(self, x: str) -> list[str]:
        """The features of each tap, (B, length)."""
        side, scales = WINDOW_SIZE // self._config.scale, []
        x = self.quantized(self.relu(self._folded(x, "stem.0", "stem.1")), "stem")
        for stage, blocks in enumerate(self._config.blocks):
            for block in range(blocks):
                x = self._block(x, f"stages.{stage}.{block}", 2 if block == 0 else 1)
            side = -(-side // 2)
            if stage in self._config.taps:
                scales.append(self.node("ReduceMean", [x], {"axes": [2, 3], "keepdims": 0}))
                if self._config.attention:
                    scales.append(self._attention(x, f"attention.{self._config.taps.index(stage)}", side))
        return scales

    def classified(self, scales: list[str]) -> str:
        """Everything from the fused vector to the embedding is one affine map; then the class vectors, as in `MultiscaleNet.logits`."""
        embedding = self.linear(self.node("Concat", scales, {"axis": 1}), *self._embedding())
        centers = self._tensors["centers"]
        bias = self._tensors["class_bias"].astype(np.float32) if self._config.class_bias else None
        if self._config.classifier == "linear":
            return self.linear(embedding, centers, bias)
        length = self.node("ReduceL2", [embedding], {"axes": [1], "keepdims": 1})
        unit = self.node("Div", [embedding, self.node("Max", [length, self.constant(np.array(1e-12, np.float32))])])
        centers = centers / np.maximum(np.linalg.norm(centers, axis=1, keepdims=True), 1e-12)
        return self.linear(unit, (self._config.logit_scale * centers).astype(np.float32), bias)

    def _block(self, x: str, name: str, stride: int) -> str:
        """See `ResidualBlock`."""
        y = self.quantized(self.relu(self._folded(x, f"{name}.conv1", f"{name}.norm1", stride)), f"{name}.conv1")
        y = self.quantized(self._folded(y, f"{name}.conv2", f"{name}.norm2"), f"{name}.conv2")
        if f"{name}.shortcut.0.weight" in self._tensors:
            x = self.quantized(self._folded(x, f"{name}.shortcut.0", f"{name}.shortcut.1", stride), f"{name}.shortcut")
        return self.quantized(self.relu(self.add(y, x)), name)

    def _folded(self, x: str, convolution: str, norm: str, stride: int = 1) -> str:
        """A convolution without bias and the batch norm behind it, as one convolution."""
        gain, shift = self._affine(norm)
        weight = self._tensors[f"{convolution}.weight"] * gain[:, None, None, None]
        size = weight.shape[2]
        attributes = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        return self.scaled_convolution(x, weight.astype(np.float32), shift.astype(np.float32), attributes)

    def _attention(self, x: str, name: str, side: int) -> str:
        """As `ChannelAttention.forward`; x: (B, C, side, side)."""
        own = {key.removeprefix(f"{name}."): value for key, value in self._tensors.items() if key.startswith(f"{name}.")}
        cells = self.linear(self.reshape(x, [0, 0, -1]), cells_of(side, self._config.grid))
        norm = [self.constant(own["norm.weight"]), self.constant(own["norm.bias"])]
        normed = self.node("LayerNormalization", [cells, *norm], {"axis": -1, "epsilon": EPSILON})
        tokens = self.add(self.linear(normed, own["tokens.weight"], own["tokens.bias"]), self.constant(own["identity"]))
        weights, biases = np.split(own["query_key_value.weight"], 3), np.split(own["query_key_value.bias"], 3)
        q, k, v = (self.linear(tokens, weight, bias) for weight, bias in zip(weights, biases, strict=True))
        attended = self.node("MultiHeadAttention", [q, k, v], {"num_heads": HEADS}, RUNTIME)
        tokens = self.add(tokens, self.linear(attended, own["out.weight"], own["out.bias"]))
        return self.reshape(self._compressed(own["queries"], tokens), [0, -1])

    def _compressed(self, queries: Floats, tokens: str) -> str:
        """(Q, width) and (B, C, width) -> (B, Q, width): softmax(queries tokens^T / sqrt(width)) tokens."""
        asked = self.constant(queries * np.float32(queries.shape[1] ** -0.5))
        alike = self.node("MatMul", [asked, self.permute(tokens, [0, 2, 1])])
        return self.node("MatMul", [self.node("Softmax", [alike], {"axis": -1}), tokens])

    def _embedding(self) -> tuple[Floats, Floats]:
        """(E, F) and (E,): batch norm, linear layer, batch norm."""
        gain, shift = self._affine("fuse.0")
        out_gain, out_shift = self._affine("norm")
        weight = self._tensors["fuse.2.weight"].astype(np.float64)
        return (out_gain[:, None] * weight * gain).astype(np.float32), (out_gain * (weight @ shift) + out_shift).astype(np.float32)

    def _affine(self, norm: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What a batch norm multiplies by and adds, in evaluation mode."""
        mean, variance = (self._tensors[f"{norm}.{name}"].astype(np.float64) for name in ("running_mean", "running_var"))
        weight, bias = np.ones_like(mean), np.zeros_like(mean)
        if norm != "norm" or self._config.affine:
            weight, bias = (self._tensors[f"{norm}.{name}"].astype(np.float64) for name in ("weight", "bias"))
        gain = weight / np.sqrt(variance + EPSILON)
        return gain, bias - mean * gain


def cells_of(side: int, grid: int) -> Floats:
    """(grid * grid, side * side): matrix that averages a map of side x side onto a grid, as torch's adaptive average pooling does."""
    low, high = np.arange(grid) * side // grid, -(-(np.arange(grid) + 1) * side // grid)
    inside = (np.arange(side) >= low[:, None]) & (np.arange(side) < high[:, None])
    line = inside / inside.sum(axis=1, keepdims=True)
    return np.kron(line, line).astype(np.float32)
