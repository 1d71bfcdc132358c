"""Sizes of a MultiscaleNet, and where in a crop it looks: what is known of a network without loading torch."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Final, Literal, Self

from fer_core.labels import EXPRESSIONS
from fer_core.validation import check_entries

HEADS: Final = 4
"""Of the self-attention across channels."""
WINDOW_TOP: Final = 16
WINDOW_LEFT: Final = 8
WINDOW_SIZE: Final = 96
"""The square of the 112x112 crop that the network sees."""

MOST_STAGES: Final = 16
MOST_BLOCKS: Final = 256
MOST_CHANNELS: Final = 2**16
"""Of anything that is counted in a network."""
MOST_PARAMETERS: Final = 100_000_000
"""Ten times those of `BASE`."""
MOST_MULTIPLY_ADDS: Final = 20_000_000_000
"""A face; `BASE` needs 0.6 billion."""
MOST_VALUES: Final = 2**22
"""Of one map, or one table, that a face needs: a batch of 32 faces takes half a gigabyte then."""


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
    affine: bool = True
    """Whether the batch norm that gives the embedding has a scale and a bias. Its bias can hide a class prior."""
    class_bias: bool = False
    """Whether a learned bias a class is added to the logits: the log prior of training, which can be scaled or left out afterwards."""

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
        if not self.classes or not 0 <= self.dropout <= 1 or not 0 < self.logit_scale <= MOST_CHANNELS:
            raise ValueError(f"a network has classes, a dropout between 0 and 1, and a logit scale above 0, at most {MOST_CHANNELS}")
        self._check_size(max(sizes))

    def _check_size(self, largest: int) -> None:
        """ValueError: a network that is too large to load or to run. The check allocates nothing."""
        if len(self.widths) > MOST_STAGES or sum(self.blocks) > MOST_BLOCKS or max(largest, len(self.classes)) > MOST_CHANNELS:
            raise ValueError(f"a network has at most {MOST_STAGES} stages, {MOST_BLOCKS} blocks and {MOST_CHANNELS} channels")
        if sum(prod(shape) for shape in self.tensor_shapes().values()) > MOST_PARAMETERS:
            raise ValueError(f"a network has at most {MOST_PARAMETERS:,} parameters")
        steps = list(self._steps())
        if sum(work for work, _ in steps) > MOST_MULTIPLY_ADDS or max(values for _, values in steps) > MOST_VALUES:
            raise ValueError(f"a network takes at most {MOST_MULTIPLY_ADDS:,} multiply-adds a face, and {MOST_VALUES:,} values at a time")

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors that make the network, by the names of `MultiscaleNet.state_dict`, without batch norms' step counters."""
        shapes: dict[str, tuple[int, ...]] = {"stem.0.weight": (self.stem, 1, 3, 3), **_norm("stem.1", self.stem)}
        inputs = self.stem
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            for block in range(blocks):
                name = f"stages.{stage}.{block}"
                shapes |= {f"{name}.conv1.weight": (width, inputs, 3, 3), **_norm(f"{name}.norm1", width)}
                shapes |= {f"{name}.conv2.weight": (width, width, 3, 3), **_norm(f"{name}.norm2", width)}
                if block == 0:  # which halves the map
                    shapes |= {f"{name}.shortcut.0.weight": (width, inputs, 1, 1), **_norm(f"{name}.shortcut.1", width)}
                inputs = width
        if self.attention:
            for number, tap in enumerate(self.taps):
                shapes |= {f"attention.{number}.{name}": shape for name, shape in self._attention(self.widths[tap]).items()}
        fused = sum(self.widths[tap] + self.attention * self.queries * self.token for tap in self.taps)
        shapes |= {**_norm("fuse.0", fused), "fuse.2.weight": (self.embedding, fused)}
        shapes |= {**_norm("norm", self.embedding, self.affine), "centers": (len(self.classes), self.embedding)}
        return {**shapes, "class_bias": (len(self.classes),)} if self.class_bias else shapes

    def activations(self) -> tuple[str, ...]:
        """Layers of the convolutional part, in their order: those whose outputs an 8-bit form rounds."""
        names = ["stem"]
        for stage, blocks in enumerate(self.blocks):
            for block in range(blocks):
                name = f"stages.{stage}.{block}"
                names += [f"{name}.conv1", f"{name}.conv2", *([f"{name}.shortcut"] if block == 0 else []), name]
        return tuple(names)

    def _attention(self, channels: int) -> dict[str, tuple[int, ...]]:
        cells, token = self.grid**2, self.token
        return {
            **{"norm.weight": (cells,), "norm.bias": (cells,), "tokens.weight": (token, cells), "tokens.bias": (token,)},
            **{"identity": (channels, token), "query_key_value.weight": (3 * token, token), "query_key_value.bias": (3 * token,)},
            **{"out.weight": (token, token), "out.bias": (token,), "queries": (self.queries, token)},
        }

    def _steps(self) -> Iterator[tuple[int, int]]:
        """Multiply-adds of each part for one face, and values of its largest map or table."""
        side = WINDOW_SIZE // self.scale
        yield self.stem * 9 * side**2, self.stem * side**2
        inputs = self.stem
        for stage, (width, blocks) in enumerate(zip(self.widths, self.blocks, strict=True)):
            side = -(-side // 2)
            yield width * (9 * inputs + inputs + 9 * width + (blocks - 1) * 18 * width) * side**2, width * side**2
            inputs = width
            if self.attention and stage in self.taps:
                cells, token = self.grid**2, self.token
                pooled, attended = width * cells * side**2, 2 * width**2 * token
                linear = width * token * (cells + 4 * token)
                told = 2 * self.queries * width * token
                yield pooled + attended + linear + told, max(width * cells, 3 * width * token, HEADS * width**2, cells * side**2)
        fused = sum(self.widths[tap] + self.attention * self.queries * self.token for tap in self.taps)
        yield self.embedding * (fused + len(self.classes)), max(fused, self.embedding)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        entries = asdict(self)
        # entries that came later are left out at their defaults: specs and checkpoints of earlier releases stay as they were
        return {name: value for name, value in entries.items() if name not in _LATER or value != _LATER[name]}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` gave; anything else is a TypeError, ValueError or KeyError."""
        lists = {name: tuple(value[name]) for name in ("widths", "blocks", "taps", "classes")}
        return cls(**{**value, **lists})


def _norm(name: str, channels: int, affine: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{part}": (channels,) for part in (*(("weight", "bias") if affine else ()), "running_mean", "running_var")}


_LATER: Final[dict[str, Any]] = {"affine": True, "class_bias": False}
"""Entries that models of earlier releases do not have, and what they mean there."""


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
