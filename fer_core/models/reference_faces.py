"""Validation faces that come with a model as the embeddings of its network: what a change of its head costs on them can be told anywhere.

MODEL/reference.safetensors   `embeddings` (N, D) and `shares` (N, 8), half precision; its metadata says of which network and faces
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.labels import EXPRESSIONS
from fer_core.models.tensor_file import read_tensor_file

REFERENCE: Final = "reference.safetensors"
MOST_FACES: Final = 20_000
HEAD: Final = ("centers", "class_bias")
"""Tensors of a network that its embeddings do not depend on."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceFaces:
    """N faces that no training saw."""

    name: str
    """Which faces."""
    embeddings: NDArray[np.float32]
    """(N, D) as the network gives them for the faces as they are, without their mirror images."""
    shares: NDArray[np.float32]
    """(N, 8) of the raters' votes."""


def network_digest(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """SHA-256 of all that embeddings depend on."""
    digest = hashlib.sha256()
    for name in sorted(tensors.keys() - set(HEAD)):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(tensors[name], "<f4").tobytes())
    return digest.hexdigest()


def read_reference(folder: Path, tensors: Mapping[str, NDArray[np.float32]]) -> ReferenceFaces | None:
    """Those of the model in a folder, whose tensors are given; None where it has none. ModelError: damaged, or of another network."""
    file = folder / REFERENCE
    if not file.is_file():
        return None
    try:
        stored = read_tensor_file(file)
        count, width = stored.shapes.get("embeddings", (0,))[0], tensors["centers"].shape[1]
        if not 1 <= count <= MOST_FACES:
            raise ValueError(f"{count} faces")
        found = stored.tensors({"embeddings": (count, width), "shares": (count, len(EXPRESSIONS))})
        reference = ReferenceFaces(stored.metadata["faces"], found["embeddings"], found["shares"])
        network = stored.metadata["network"]
    except (OSError, ValueError, LookupError) as error:
        raise ModelError(f"damaged reference faces: {file}") from error
    if network != network_digest(tensors):
        raise ModelError(f"the reference faces are those of another network: {file}")
    return reference


def write_reference(folder: Path, reference: ReferenceFaces, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Beside the weights of the model whose tensors are given."""
    from safetensors.numpy import save

    halves = {"embeddings": reference.embeddings.astype(np.float16), "shares": reference.shares.astype(np.float16)}
    metadata = {"faces": reference.name, "network": network_digest(tensors)}
    try:
        (folder / REFERENCE).write_bytes(save(halves, metadata=metadata))
    except OSError as error:
        raise ModelError(f"cannot write {folder / REFERENCE} ({error.strerror})") from error
