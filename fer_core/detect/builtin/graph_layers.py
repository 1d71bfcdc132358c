"""The layers of a DetectionNet in their order, for writers that give each of them in their own kind of numbers."""

from typing import Final, Protocol

from fer_core.detect.builtin.config import DetectionConfig

GREY: Final = 128
"""What is 0 to the network: x / 128 - 1."""


class LayerWriter(Protocol):
    """Adds layers to a graph. Values are referred to by their names in the graph, layers by those of `DetectionConfig.tensor_shapes`."""

    def stem(self, first: str, second: str) -> str:
        """The first two convolutions, of the pictures, each of stride 2 and with a ReLU."""
        ...

    def convolution(self, x: str, layer: str, stride: int = 1, *, rectified: bool = True) -> str:
        """A convolution, and a ReLU where it is `rectified`."""
        ...

    def residual(self, x: str, inner: str, block: str) -> str:
        """The sum of both, and a ReLU."""
        ...

    def merged(self, finer: str, coarser: str, layer: str) -> str:
        """The sum of a map and of one of half its size, each of whose values counts for four."""
        ...

    def output(self, x: str, layer: str) -> str:
        """The last convolution of a level."""
        ...


def write_layers(config: DetectionConfig, writer: LayerWriter) -> list[str]:
    """The whole network; the names of the outputs of its levels, finest first."""
    x = writer.stem("stem.0.conv", "stem.1.conv")
    stages, seen, mixed = list[str](), list[str](), ""
    for stage, blocks in enumerate(config.blocks):
        x = writer.convolution(x, f"stages.{stage}.down.conv", 2)
        for block in range(blocks):
            name = f"stages.{stage}.blocks.{block}"
            inner = writer.convolution(x, f"{name}.first.conv")
            x = writer.residual(x, writer.convolution(inner, f"{name}.second.conv", rectified=False), name)
        stages.append(x)
    for level in (2, 1, 0):
        finer = writer.convolution(stages[level], f"lateral.{level}", rectified=False)
        mixed = writer.merged(finer, mixed, f"mixed.{level}") if mixed else finer
        seen.insert(0, writer.output(writer.convolution(mixed, f"heads.{level}.conv"), f"outputs.{level}"))
    return seen


def activations(config: DetectionConfig) -> tuple[str, ...]:
    """Layers whose outputs are quantised, by their names."""
    writer = _Names()
    write_layers(config, writer)
    return tuple(writer.names)


class _Names:
    """A `LayerWriter` that only notes names."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def stem(self, first: str, second: str) -> str:
        self._noted(first)
        return self._noted(second)

    def convolution(self, x: str, layer: str, stride: int = 1, *, rectified: bool = True) -> str:
        return self._noted(layer)

    def residual(self, x: str, inner: str, block: str) -> str:
        return self._noted(block)

    def merged(self, finer: str, coarser: str, layer: str) -> str:
        return self._noted(layer)

    def output(self, x: str, layer: str) -> str:
        return layer

    def _noted(self, name: str) -> str:
        self.names.append(name)
        return name
