"""A graph that keeps the activations of its layers in eight bits, where their ranges are known."""

import numpy as np
from numpy.typing import NDArray

from fer_core.models.onnx_builder import Attributes, Graph
from fer_core.models.quantization import ACTIVATION_STEPS, Ranges, quantized_weights


class QuantizedGraph(Graph):
    """Values in eight bits are followed by name; ONNX Runtime computes what reads and gives such values in whole numbers."""

    def __init__(self, ranges: Ranges) -> None:
        """ranges: of the layers that are kept in eight bits; without any it is a graph of single precision."""
        super().__init__()
        self._ranges = ranges
        self._steps: dict[str, float] = {}

    def bytes_scaled(self, x: str, step: float, zero: int) -> str:
        """Bytes that are quantised numbers already: step * (x - zero)."""
        out = self.node("DequantizeLinear", [x, self.constant(np.array(step, np.float32)), self.constant(np.array(zero, np.uint8))])
        self._steps[out] = step
        return out

    def quantized(self, x: str, layer: str) -> str:
        """The output of a layer in the 256 steps of its range; as it is where no range is known."""
        if layer not in self._ranges:
            return x
        low, high = self._ranges[layer]
        step = (high - low) / ACTIVATION_STEPS
        constants = np.array(step, np.float32), np.array(round(-low / step), np.uint8)
        scaled = [self.constant(array) for array in constants]
        out = self.node("DequantizeLinear", [self.node("QuantizeLinear", [x, *scaled]), *scaled])
        self._steps[out] = float(np.float32(step))
        return out

    def scaled_convolution(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32], attributes: Attributes) -> str:
        """(B, I, H, W) -> (B, O, H', W'); weight (O, I, k, k). In whole numbers where x is in eight bits."""
        if x not in self._steps:
            return self.node("Conv", [x, self.constant(weight), self.constant(bias)], attributes)
        whole = quantized_weights(weight, bias, self._steps[x])
        return self.node("Conv", [x, self._by_channel(whole.weight, whole.scales), self._by_channel(whole.bias, whole.sums)], attributes)

    def _by_channel(self, numbers: NDArray[np.int8] | NDArray[np.int32], scales: NDArray[np.float32]) -> str:
        zeros = np.zeros(len(scales), numbers.dtype)
        inputs = [self.constant(array) for array in (numbers, scales, zeros)]
        return self.node("DequantizeLinear", inputs, {"axis": 0})
