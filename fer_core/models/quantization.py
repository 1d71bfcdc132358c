"""Numbers of eight bits: how weights and activations are scaled to them.

Weights are scaled by output channel (Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", CVPR 2018), activations by ranges that were recorded on pictures.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ranges = Mapping[str, tuple[float, float]]
"""Least and largest activation by layer; the least is at most 0, the largest above 0."""

WEIGHT_LIMIT: Final = 63
"""Seven bits: a sum of two products of an activation and a weight fits 16 bits, so CPUs without VNNI, which add such pairs first, give the
same numbers as those with it."""
ACTIVATION_STEPS: Final = 255
BIAS_STEPS: Final = 2**30
"""Largest bias; what is added to it has as much room."""
SMALLEST_SCALE: Final = 1e-25
"""Of a channel without weights: times that of any activation it is no subnormal number."""
SMALLEST_RANGE: Final = 1e-6
LARGEST_RANGE: Final = 1e6


@dataclass(frozen=True, slots=True)
class QuantizedWeights:
    """A convolution in whole numbers."""

    weight: NDArray[np.int8]
    """(O, I, k, k) of at most `WEIGHT_LIMIT` either way."""
    scales: NDArray[np.float32]
    """(O,) what a step of the weight is worth."""
    bias: NDArray[np.int32]
    """(O,)"""
    sums: NDArray[np.float32]
    """(O,) what a step of the bias, and of the sums of products, is worth."""


def quantized_weights(weight: NDArray[np.float32], bias: NDArray[np.float32], step: float) -> QuantizedWeights:
    """weight (O, I, k, k), bias (O,); step: what a step of the activations that the convolution reads is worth."""
    needed = np.abs(bias) / (BIAS_STEPS * step)  # so that the bias fits, of channels with small weights too
    scales = np.maximum(np.maximum(np.abs(weight).max(axis=(1, 2, 3)) / WEIGHT_LIMIT, needed), SMALLEST_SCALE).astype(np.float32)
    whole = np.rint(weight / scales[:, None, None, None]).astype(np.int8)
    sums = (scales.astype(np.float64) * step).astype(np.float32)
    return QuantizedWeights(whole, scales, np.rint(bias / sums.astype(np.float64)).astype(np.int32), sums)


def checked_ranges(stored: object, layers: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Ranges as JSON holds them, lists of two. ValueError: not exactly these layers, or not two finite numbers each around 0."""
    if not isinstance(stored, Mapping) or stored.keys() != set(layers):
        raise ValueError("ranges of other layers")
    found = dict[str, tuple[float, float]]()
    for layer, pair in stored.items():
        if (
            not isinstance(pair, list | tuple)
            or len(pair) != 2
            or not all(type(one) in (int, float) and math.isfinite(one) for one in pair)
        ):
            raise ValueError(f"no range of {layer}")
        low, high = float(pair[0]), float(pair[1])
        if not (-LARGEST_RANGE < low <= 0 < high < LARGEST_RANGE and high - low > SMALLEST_RANGE):
            raise ValueError(f"no range of {layer}")
        found[layer] = low, high
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
