"""The built-in detector on disk: one safetensors file, batch norm folded away, half precision, its sizes in the metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.graph_layers import activations
from fer_core.errors import DetectorError
from fer_core.json_reader import parse_object
from fer_core.models.quantization import checked_ranges
from fer_core.models.tensor_file import read_tensor_file

if TYPE_CHECKING:
    from fer_core.detect.builtin.network import DetectionNet

SHIPPED: Final = Path(__file__).parents[1] / "weights" / "builtin.safetensors"


def save_detector(network: "DetectionNet", file: Path) -> None:
    """Write a network with batch norm, averaged or not, in the shipped format, without ranges."""
    from safetensors.torch import save_file

    from fer_core.detect.builtin.network import fold_batch_norm

    tensors = {name: tensor.half().contiguous() for name, tensor in fold_batch_norm(network).state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, metadata={"config": json.dumps(network.config.to_json())})


def save_ranges(file: Path, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Add the ranges of the activations to a detector's file, or replace them. DetectorError as `read_detector`, or such ranges."""
    from safetensors.numpy import load, save_file

    config, _ = read_detector(file)
    stored, told = read_tensor_file(file), {name: list(pair) for name, pair in ranges.items()}
    try:
        checked_ranges(told, activations(config))
    except ValueError as error:
        raise incompatible_weights(file, error) from error
    partial = file.with_name(f"{file.name}.partial")
    save_file(load(stored.data), partial, metadata={**stored.metadata, "ranges": json.dumps(told)})
    partial.replace(file)


def read_detector(file: Path) -> tuple[DetectionConfig, dict[str, NDArray[np.float32]]]:
    """Sizes and weights, float32, under the names of `DetectionNet.state_dict`. DetectorError: no such file, or not one of these."""
    if not file.is_file():
        raise DetectorError(f"detector file not found: {file}")
    try:
        stored = read_tensor_file(file)
        config = DetectionConfig.from_json(parse_object(stored.metadata["config"]))
        return config, stored.tensors(config.tensor_shapes())
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise incompatible_weights(file, error) from error


def read_ranges(file: Path) -> dict[str, tuple[float, float]]:
    """Ranges of the activations for `quantized_onnx`; empty where the file has none. DetectorError as `read_detector`."""
    config, _ = read_detector(file)
    stored = read_tensor_file(file).metadata.get("ranges")
    if stored is None:
        return {}
    try:
        return checked_ranges(parse_object(stored), activations(config))
    except (ValueError, TypeError) as error:
        raise incompatible_weights(file, error) from error


def load_detector(file: Path) -> "DetectionNet":
    """The network in evaluation mode, float32. DetectorError: no such file, or not one of these."""
    import torch

    from fer_core.detect.builtin.network import DetectionNet

    config, tensors = read_detector(file)
    try:
        network = DetectionNet(config)
        network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    except (ValueError, RuntimeError) as error:
        raise incompatible_weights(file, error) from error
    return network.eval()


def incompatible_weights(file: Path, reason: Exception) -> DetectorError:
    """The error for a file whose tensors are not those of the network that it describes."""
    return DetectorError(f"not a file of the built-in detector ({type(reason).__name__}: {reason}): {file}")
