"""Training state on disk: safetensors, never pickle; written whole or not at all."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fer_core.errors import TrainingError
from fer_core.json_reader import parse_json, parse_object


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a training run."""

    epochs: int = 0
    """Whole epochs done."""
    best_epoch: int = 0
    """The one with the best held-back accuracy so far, from 1; 0 before the first."""
    best_accuracy: float = -1.0
    best_loss: float = float("inf")
    """Held-back log loss of that epoch: it decides between equal accuracies."""
    steps: int = 0
    """Steps done of the epoch after those; the three entries below belong to it."""
    total: float = 0.0
    """Sum of those steps' losses."""
    augment_state: str = ""
    """Of the generator that augments, in hexadecimal."""
    dropout_state: str = ""
    """Of torch's own generator on the CPU, in hexadecimal."""

    def __post_init__(self) -> None:
        """TypeError or ValueError: no possible progress."""
        if not all(type(number) is int for number in (self.epochs, self.best_epoch)):
            raise TypeError("epochs are whole numbers")
        if not 0 <= self.best_epoch <= self.epochs or not -1 <= self.best_accuracy <= 1 or math.isnan(self.best_loss):
            raise ValueError("no run is as far as that")


def save_checkpoint(file: Path, tensors: Mapping[str, Tensor], progress: Progress, identity: Mapping[str, Any]) -> None:
    """Replace the checkpoint `file` (suffix added) in one step. identity: identifies the run."""
    partial = file.with_suffix(".partial")
    metadata = {"progress": json.dumps(asdict(progress)), "identity": json.dumps(identity, sort_keys=True)}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, partial, metadata=metadata)
        partial.replace(file.with_suffix(".safetensors"))
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot write the checkpoint {file.with_suffix('.safetensors')}: {error}") from error


def load_checkpoint(file: Path, tensors: Mapping[str, Tensor], identity: Mapping[str, Any]) -> Progress:
    """Copy a checkpoint into `tensors`; returns its progress, none if there is no checkpoint. Another run's is refused."""
    whole = file.with_suffix(".safetensors")
    if not whole.is_file():
        return Progress()
    try:
        with safe_open(whole, framework="pt") as opened:
            metadata = opened.metadata() or {}
            stored_identity = parse_json(metadata["identity"])
            if stored_identity != json.loads(json.dumps(identity)):
                raise TrainingError(f"the checkpoint belongs to another {_difference(stored_identity, identity)}: {whole}")
            progress = Progress(**parse_object(metadata["progress"], constants=True))
            if set(opened.keys()) != tensors.keys():
                raise ValueError("other tensors than the run has")
            for name, tensor in tensors.items():
                shape = tuple(opened.get_slice(name).get_shape())
                if shape != tuple(tensor.shape):  # before anything of that size is allocated
                    raise ValueError(name)
                stored = opened.get_tensor(name)
                if stored.dtype != tensor.dtype:  # copy_ would convert
                    raise ValueError(name)
                if stored.is_floating_point() and not bool(stored.isfinite().all()):
                    raise ValueError(f"{name} holds numbers that are not finite")
                tensor.copy_(stored)
            return progress
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {whole} ({error.strerror or error})") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f"damaged checkpoint: {whole}") from error


def _difference(stored: object, identity: Mapping[str, Any]) -> str:
    """The word for the difference of two runs: their configuration, or their sources."""
    same = isinstance(stored, dict) and stored.get("config") == json.loads(json.dumps(identity.get("config")))
    return "face set or model" if same else "configuration"
