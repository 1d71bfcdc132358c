"""A model that is there, by the card in its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fer_core.errors import ModelError

WEIGHTS: Final = "weights.safetensors"
CARD: Final = "card.json"
SHIPPED: Final = Path(__file__).parent / "weights"
DEFAULT: Final = "tiny"


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
        card = json.loads(file.read_text(encoding="utf-8"))
        return ModelRef(folder.absolute(), str(card["name"]), str(card["digest"]), card)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"damaged model card: {file}") from error
