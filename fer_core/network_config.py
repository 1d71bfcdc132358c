"""Sizes of a MultiscaleNet, and where in a crop it looks: what is known of a network without loading torch."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self

from fer_core.entries import check_entries
from fer_core.labels import EXPRESSIONS

HEADS: Final = 4
"""Of the self-attention across channels."""
WINDOW_TOP: Final = 16
WINDOW_LEFT: Final = 8
WINDOW_SIZE: Final = 96
"""The square of the 112x112 crop that the network sees."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of a MultiscaleNet; with the weights it is all that rebuilds the model."""

    scale: int
    """Crop pixels averaged into one input pixel: 2 means a 48x48 input."""
    stem: int
    """Channels of the first convolution."""
    widths: tuple[int, ...]
    """Channels of each stage."""
    blocks: tuple[int, ...]
    """Residual blocks of each stage."""
    taps: tuple[int, ...]
    """Stages whose maps reach the embedding, from 0."""
    attention: bool
    """Channel-wise self-attention on each tap; without it a tap is averaged over positions."""
    grid: int
    """Side of the grid that a tapped map is averaged onto."""
    token: int
    """Width of a channel token."""
    queries: int
    """Tokens left of each tap after compression."""
    embedding: int
    """Length of the face's embedding."""
    dropout: float
    """Share of the fused vector dropped in training."""
    logit_scale: float
    """Multiplies cosines (the s of the loss)."""
    classes: tuple[str, ...] = EXPRESSIONS
    classifier: Literal["cosine", "linear"] = "cosine"
    """How an embedding is compared with the class vectors: `logit_scale` times the cosine, or the inner product."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ValueError: sizes that make no network."""
        check_entries(self)
        sizes = (self.scale, self.stem, *self.widths, *self.blocks, self.grid, self.token, self.queries, self.embedding)
        if min(sizes) < 1 or self.scale > WINDOW_SIZE or self.token % HEADS:
            raise ValueError(f"the sizes of a network are at least 1, its scale at most {WINDOW_SIZE}, and its token a multiple of {HEADS}")
        if len(self.widths) != len(self.blocks):
            raise ValueError(f"widths for {len(self.widths)} stages, but blocks for {len(self.blocks)}")
        if not self.taps or len(set(self.taps)) < len(self.taps) or not set(self.taps) <= set(range(len(self.widths))):
            raise ValueError(f"taps are different stages from 0 to {len(self.widths) - 1}")
        if not self.classes or not 0 <= self.dropout <= 1:
            raise ValueError("a network has classes, and a dropout between 0 and 1")

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` gave; anything else is a TypeError, ValueError or KeyError."""
        lists = {name: tuple(value[name]) for name in ("widths", "blocks", "taps", "classes")}
        return cls(**{**value, **lists})


TINY: Final = NetworkConfig(
    scale=2,
    stem=24,
    widths=(32, 72, 144, 256),
    blocks=(1, 2, 1, 1),
    taps=(0, 1, 2, 3),
    attention=True,
    grid=6,
    token=32,
    queries=8,
    embedding=256,
    dropout=0.3,
    logit_scale=16.0,
)
"""For labelling on CPUs: under 60 million multiply-adds a face."""

BASE: Final = NetworkConfig(
    scale=2,
    stem=64,
    widths=(64, 128, 256, 384),
    blocks=(3, 4, 4, 2),
    taps=(0, 1, 2, 3),
    attention=True,
    grid=6,
    token=64,
    queries=8,
    embedding=256,
    dropout=0.4,
    logit_scale=16.0,
)
"""For GPUs: ResNet-18's widths but for the last stage, with more blocks at middle depth: at most 0.6 billion multiply-adds a face and 24 MB
in half precision."""
