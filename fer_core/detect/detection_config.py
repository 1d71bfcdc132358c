"""Sizes of a DetectionNet, and what its numbers mean: what is known of it without loading torch."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from fer_core.entries import check_entries

STRIDES: Final = (8, 16, 32)
"""Pixels between neighbouring places of each level. Pictures come in multiples of the last."""
NUMBERS: Final = 15
LARGEST: Final = 4.5
"""Logarithm of the largest side in strides that a box can have: keeps `exp` finite."""


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

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` gave; anything else is a TypeError, ValueError or KeyError."""
        return cls(tuple(value["stem"]), tuple(value["widths"]), tuple(value["blocks"]), value["neck"])
