"""The built-in detector on disk: one safetensors file, batch norm folded away, half precision, its sizes in the metadata."""

import json
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fer_core.detect.detection_net import DetectionConfig, DetectionNet, folded
from fer_core.errors import DetectorError

SHIPPED: Final = Path(__file__).parent / "weights" / "builtin.safetensors"


def save_detector(network: DetectionNet, file: Path) -> None:
    """Write a network with batch norm, averaged or not, as it is shipped."""
    tensors = {name: tensor.half().contiguous() for name, tensor in folded(network).state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, metadata={"config": json.dumps(network.config.to_json())})


def load_detector(file: Path) -> DetectionNet:
    """The network in evaluation mode, float32. DetectorError: no such file, or not one of these."""
    if not file.is_file():
        raise DetectorError(f"detector file not found: {file}")
    try:
        with safe_open(file, framework="pt") as opened:
            config = DetectionConfig.from_json(json.loads(opened.metadata()["config"]))
            tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118  (not a mapping)
        network = DetectionNet(config)
        network.load_state_dict(tensors)
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise DetectorError(f"not a file of the built-in detector: {file}") from error
    return network.eval()
