"""Sizes of a DetectionNet and the meaning of its outputs, without loading torch."""

from dataclasses import asdict, dataclass
from itertools import product
from typing import Any, Final, Self

from fer_core.validation import check_entries

STRIDES: Final = (8, 16, 32)
"""Pixels between neighbouring places of each level. Sides of inputs are multiples of the last."""
NUMBERS: Final = 15
LARGEST: Final = 4.5
"""Logarithm of the largest side in strides that a box can have: keeps `exp` finite."""
MOST_BLOCKS: Final = 64
MOST_CHANNELS: Final = 1024
MOST_VALUES: Final = 64
"""Of one map, a pixel: a batch of four million pixels takes a gigabyte then. The shipped network has 4."""
MOST_MULTIPLY_ADDS: Final = 100_000
"""A pixel; the shipped network needs 2,800."""


@dataclass(frozen=True, slots=True)
class DetectionConfig:
    """Sizes of a DetectionNet; with the weights it is all that rebuilds it."""

    stem: tuple[int, int] = (16, 32)
    """Channels of the two convolutions before the stages, each halving the picture."""
    widths: tuple[int, int, int] = (48, 64, 96)
    """Channels of the stages."""
    blocks: tuple[int, int, int] = (1, 2, 2)
    """Residual blocks of each stage."""
    neck: int = 48
    """Channels that all levels are brought to."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ValueError: a size below 1."""
        check_entries(self)
        if min(*self.stem, *self.widths, *self.blocks, self.neck) < 1:
            raise ValueError("the sizes of a network are at least 1")
        if max(*self.stem, *self.widths, self.neck) > MOST_CHANNELS or sum(self.blocks) > MOST_BLOCKS:
            raise ValueError(f"a detector has at most {MOST_CHANNELS} channels and {MOST_BLOCKS} blocks")
        layers = self._layers()
        work = sum(outputs * inputs * size**2 / area for _, outputs, inputs, size, area in layers)
        if work > MOST_MULTIPLY_ADDS or max(outputs / area for _, outputs, _, _, area in layers) > MOST_VALUES:
            raise ValueError(f"a detector takes at most {MOST_MULTIPLY_ADDS:,} multiply-adds a pixel, and {MOST_VALUES} values at a time")

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that make the network without batch norm, by the names of `DetectionNet.state_dict`."""
        layers = self._layers()
        weights = {f"{name}.weight": (outputs, inputs, size, size) for name, outputs, inputs, size, _ in layers}
        return {**weights, **{f"{name}.bias": (outputs,) for name, outputs, _, _, _ in layers}}

    def _layers(self) -> list[tuple[str, int, int, int, int]]:
        """Name, outputs, inputs and side of each convolution's kernel, and how many pixels each of its places stands for."""
        first, second = self.stem
        layers = [("stem.0.conv", first, 3, 3, 4), ("stem.1.conv", second, first, 3, 16)]
        inputs = second
        for stage, (width, blocks, stride) in enumerate(zip(self.widths, self.blocks, STRIDES, strict=True)):
            layers.append((f"stages.{stage}.down.conv", width, inputs, 3, stride**2))
            for block, part in product(range(blocks), ("first", "second")):
                layers.append((f"stages.{stage}.blocks.{block}.{part}.conv", width, width, 3, stride**2))
            inputs = width
        for level, (width, stride) in enumerate(zip(self.widths, STRIDES, strict=True)):
            layers.append((f"lateral.{level}", self.neck, width, 1, stride**2))
            layers.append((f"heads.{level}.conv", self.neck, self.neck, 3, stride**2))
            layers.append((f"outputs.{level}", NUMBERS, self.neck, 1, stride**2))
        return layers

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` gave; anything else is a TypeError, ValueError or KeyError."""
        return cls(tuple(value["stem"]), tuple(value["widths"]), tuple(value["blocks"]), value["neck"])
