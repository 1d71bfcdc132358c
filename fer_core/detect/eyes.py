"""A DetectionNet ready to look: by ONNX Runtime on a CPU, by torch on another device."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.detect.detection_net import DetectionNet
from fer_core.detect.places import Levels


class Eyes(Protocol):
    """See `DetectionNet.levels`. What is seen in a picture does not depend on those it comes with."""

    def __call__(self, pictures: Sequence[NDArray[np.uint8]], /) -> Levels:
        """(H, W, 3) RGB each, of one shape, sides multiples of 32."""
        ...


class TorchEyes:
    """On any device of torch's."""

    def __init__(self, network: DetectionNet, device: torch.device) -> None:
        self._device = device
        self._network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Levels:
        """See `Eyes`."""
        stacked = torch.from_numpy(np.stack(pictures)).to(self._device)
        levels = self._network.levels(stacked.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last))
        return [level.cpu().numpy() for level in levels]


def eyes_on(network: DetectionNet, device: torch.device) -> Eyes:
    """What suits the device. A CPU without ONNX Runtime gets the same answers from torch, in twice the time."""
    if device.type == "cpu" and find_spec("onnxruntime") is not None:
        from fer_core.detect.detection_graph import CpuEyes  # noqa: PLC0415  (loads ONNX Runtime, which machines with a GPU may lack)

        return CpuEyes(network)
    return TorchEyes(network, device)
