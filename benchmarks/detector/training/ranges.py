"""Record the ranges of a detector's activations on training scenes, which its 8-bit form needs, and write them into its file.

    python -m benchmarks.detector.training.ranges out/detector/run/builtin.safetensors out/detector/*.parquet

Composed scenes hold what photographs hold rarely: grey, dark, noisy and textured pictures, which reach the ends of the ranges.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.training.material import held_out, read
from benchmarks.detector.training.scenes import SceneMaker
from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.graph_layers import activations, write_layers
from fer_core.detect.builtin.onnx import INPUT, FloatLayers, Tensors, framed
from fer_core.detect.builtin.weights import read_detector, save_ranges
from fer_core.errors import FerflowError
from fer_core.models.onnx_builder import Session

SIDE = 640


class NamedLayers(FloatLayers):
    """The graph in single precision, with the values that its layers have in it."""

    def __init__(self, tensors: Tensors) -> None:
        super().__init__(tensors)
        self.values: dict[str, str] = {}

    def first(self, layer: str) -> str:
        """See `FloatLayers`."""
        return self._noted(layer, super().first(layer))

    def convolution(self, x: str, layer: str, stride: int = 1, *, rectified: bool = True) -> str:
        """See `LayerWriter`."""
        return self._noted(layer, super().convolution(x, layer, stride, rectified=rectified))

    def residual(self, x: str, inner: str, block: str) -> str:
        """See `LayerWriter`."""
        return self._noted(block, super().residual(x, inner, block))

    def merged(self, finer: str, coarser: str, layer: str) -> str:
        """See `LayerWriter`."""
        return self._noted(layer, super().merged(finer, coarser, layer))

    def _noted(self, layer: str, value: str) -> str:
        self.values[layer] = value
        return value


def recorded(config: DetectionConfig, tensors: Tensors, pictures: Iterable[NDArray[np.uint8]]) -> dict[str, tuple[float, float]]:
    """Pictures (H, W, 3) RGB, sides multiples of 32 -> the least, 0 if it is above that, and the largest activation of each layer."""
    layers, writer = activations(config), NamedLayers(tensors)
    write_layers(config, writer)
    session = Session(writer.graph.model(INPUT, [writer.values[layer] for layer in layers], np.uint8))
    found = dict.fromkeys(layers, (0.0, 0.0))
    for pixels in pictures:
        for layer, values in zip(layers, session(framed([pixels])), strict=True):
            low, high = found[layer]
            found[layer] = min(low, float(values.min())), max(high, float(values.max()))
    return {layer: (low, high or 1.0) for layer, (low, high) in found.items()}  # of a layer that stayed silent, any


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path)
    parser.add_argument("labelled", nargs="+", type=Path)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    maker = SceneMaker([picture for picture in read(args.labelled) if not held_out(picture.name)], SIDE, args.seed)
    ranges = recorded(*read_detector(args.weights), (maker.scene(number).pixels for number in range(args.scenes)))
    save_ranges(args.weights, ranges)
    print(f"ranges of {len(ranges)} layers on {args.scenes} scenes: {args.weights}")


if __name__ == "__main__":
    try:
        main()
    except FerflowError as error:
        sys.exit(str(error))
