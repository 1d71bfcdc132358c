"""Ranges of a network's activations on faces, for its 8-bit form (`onnx_backend`)."""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_core.models.network import MultiscaleNet, ResidualBlock, on_device
from fer_core.predict.fusion import fused

BATCH: Final = 256
DIGITS: Final = 5
"""Significant digits of a range."""
SILENT: Final = 1.0
"""Largest activation that is assumed of a layer that gave only zeros."""


def activation_ranges(
    network: MultiscaleNet, faces: Iterable[NDArray[np.uint8]], device: torch.device | None = None
) -> dict[str, tuple[float, float]]:
    """The least, 0 if it is above that, and the largest activation of each of `NetworkConfig.activations()`.

    network: in evaluation mode; it is not changed. faces: arrays (N, 112, 112) of luma; mirror images count, too. device: the CPU
    unless given.
    """
    device = device or torch.device("cpu")
    folded = on_device(fused(network), device)
    found: dict[str, tuple[float, float]] = dict.fromkeys(network.config.activations(), (0.0, 0.0))

    def watch(layer: str, rectified: bool) -> Callable[[nn.Module, object, Tensor], None]:
        def seen(_module: nn.Module, _inputs: object, values: Tensor) -> None:
            low, high = found[layer]
            least = low if rectified else min(low, float(values.min()))
            found[layer] = least, max(high, float(values.max()))

        return seen

    folded.stem.register_forward_hook(watch("stem", True))
    for name, block in folded.named_modules():
        if isinstance(block, ResidualBlock):
            block.register_forward_hook(watch(name, True))
            block.conv1.register_forward_hook(watch(f"{name}.conv1", True))
            block.conv2.register_forward_hook(watch(f"{name}.conv2", False))
            if len(block.shortcut):
                block.shortcut.register_forward_hook(watch(f"{name}.shortcut", False))
    with torch.inference_mode():
        for crops in faces:
            for start in range(0, len(crops), BATCH):
                some = torch.from_numpy(crops[start : start + BATCH]).to(device).float().unsqueeze(1)
                folded(torch.cat([some, some.flip(-1)]))
    return {layer: (_short(low), _short(high) or SILENT) for layer, (low, high) in found.items()}


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
