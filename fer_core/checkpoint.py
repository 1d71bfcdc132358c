"""Training state on disk: safetensors, never pickle; written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fer_core.errors import TrainingError


def save_checkpoint(file: Path, tensors: Mapping[str, Tensor], epochs: int, config: Mapping[str, Any]) -> None:
    """Replace the checkpoint `file` (suffix added) in one step. epochs: how many are done."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    metadata = {"epochs": str(epochs), "config": json.dumps(config, sort_keys=True)}
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}, partial, metadata=metadata)
    partial.replace(file.with_suffix(".safetensors"))


def load_checkpoint(file: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> int:
    """Copy a checkpoint into `tensors`; returns the epochs done, 0 where there is none. Another configuration's is refused."""
    whole = file.with_suffix(".safetensors")
    if not whole.is_file():
        return 0
    try:
        with safe_open(whole, framework="pt") as opened:
            metadata = opened.metadata()
            if json.loads(metadata["config"]) != json.loads(json.dumps(config)):
                raise TrainingError(f"the checkpoint belongs to another configuration: {whole}")
            for name, tensor in tensors.items():
                stored = opened.get_tensor(name)
                if stored.shape != tensor.shape or stored.dtype != tensor.dtype:  # copy_ would stretch and convert
                    raise ValueError(name)
                tensor.copy_(stored)
            return int(metadata["epochs"])
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f"damaged checkpoint: {whole}") from error
