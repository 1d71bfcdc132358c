"""Tensors of a safetensors file, each expected by name and shape: other tensors are never unpacked.

The one reader of weights, wherever they go afterwards. The header is read within bounds before anything else; the caller names the expected
tensors, with bounded sizes. Other tensors, other shapes, numbers that are not finite and negative variances are refused.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.json_reader import parse_object
from fer_core.storage.bounded_file import read_bounded

MOST_BYTES: Final = 512 * 2**20
"""Of a file: a hundred million parameters in single precision, and a header."""
MOST_HEADER: Final = 2**20
STORED: Final = ("F16", "F32")
VARIANCE: Final = ".running_var"
"""Suffix of the names of a batch norm's variances."""

Shapes = Mapping[str, tuple[int, ...]]
"""Of tensors, by their names."""


@dataclass(frozen=True, slots=True)
class TensorFile:
    """A file in memory whose header was read."""

    data: bytes
    digest: str
    """SHA-256 of the file."""
    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    kinds: dict[str, str]
    """Types of numbers by name, as safetensors calls them."""

    def tensors(self, expected: Shapes) -> dict[str, NDArray[np.float32]]:
        """Exactly the expected tensors, float32. ValueError, which names the first that is wrong."""
        from safetensors import SafetensorError
        from safetensors.numpy import load

        self._check(expected)
        try:
            stored = load(self.data)
        except SafetensorError as error:
            raise ValueError(f"no safetensors file ({error})") from error
        with np.errstate(over="ignore"):
            found = {name: stored[name].astype(np.float32) for name in expected}
        for name, tensor in found.items():
            if not np.isfinite(tensor).all():
                raise ValueError(f"{name} holds numbers that are not finite")
            if name.endswith(VARIANCE) and (tensor < 0).any():
                raise ValueError(f"{name} holds a negative variance")
        return found

    def _check(self, expected: Shapes) -> None:
        strange = sorted(self.shapes.keys() ^ expected.keys())
        if strange:
            raise ValueError(f"{_short(strange[0])} is {'missing' if strange[0] in expected else 'not part of it'}")
        for name, shape in expected.items():
            if self.shapes[name] != shape or self.kinds[name] not in STORED:
                raise ValueError(f"{name} is {self.kinds[name]} {_short(self.shapes[name])}, not {' or '.join(STORED)} {shape}")


def read_tensor_file(file: Path) -> TensorFile:
    """A file and its header. ValueError where it is no safetensors file or beyond a bound, OSError where it cannot be read."""
    data = read_bounded(file, MOST_BYTES)
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(MOST_HEADER, len(data) - 8):
        raise ValueError("no safetensors file")
    header = parse_object(data[8 : 8 + length], MOST_HEADER)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata that are no texts")
    shapes, kinds = dict[str, tuple[int, ...]](), dict[str, str]()
    for name, entry in header.items():
        kind, shape = (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
            raise ValueError(f"{_short(name)} has no type or no shape")
        shapes[name], kinds[name] = tuple(shape), kind
    return TensorFile(data, hashlib.sha256(data).hexdigest(), metadata, shapes, kinds)


def _short(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
