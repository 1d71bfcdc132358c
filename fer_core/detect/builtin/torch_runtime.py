"""A DetectionNet that runs on torch."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.detect.builtin.decode_outputs import Levels, finite
from fer_core.detect.builtin.network import DetectionNet


class TorchDetectorRuntime:
    """A `DetectorRuntime` on any device of torch's."""

    def __init__(self, network: DetectionNet, device: str) -> None:
        self._device = torch.device(device)
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Levels:
        """See `DetectorRuntime`."""
        stacked = torch.from_numpy(np.stack(pictures)).to(self._device)
        levels = self._network.levels(stacked.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.channels_last))
        return finite([level.cpu().numpy() for level in levels])
