"""A model that is there, by the card in its folder."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fer_core.errors import ModelError
from fer_core.json_reader import parse_object
from fer_core.storage.bounded_file import read_bounded

WEIGHTS: Final = "weights.safetensors"
CARD: Final = "card.json"
SHIPPED: Final = Path(__file__).parents[1] / "weights"
DEFAULT: Final = "tiny"
MOST_CARD: Final = 4 * 2**20
"""Bytes of a card."""
_DIGEST: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model that is there, by its card; nothing is loaded yet."""

    path: Path
    name: str
    digest: str
    """SHA-256 of the weights file, as the card promises."""
    card: dict[str, Any]


def read_model(folder: Path) -> ModelRef:
    """A model folder's card, read without torch. ModelError: it is damaged or absent."""
    file = folder / CARD
    try:
        card = parse_object(read_bounded(file, MOST_CARD), MOST_CARD)
        name, digest = card["name"], card["digest"]
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"damaged model card: {file}") from error
    if not isinstance(name, str) or not name or not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ModelError(f"damaged model card: {file}")
    return ModelRef(folder.absolute(), name, digest, card)
