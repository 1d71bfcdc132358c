"""A MultiscaleNet on torch, for labelling on any device."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.models.network import MultiscaleNet, on_device
from fer_core.predict.fusion import fused

BATCH: Final = 64
"""Every batch is padded to this: torch's sums depend on the size of a batch, and results must not."""


class TorchNetwork:
    """Logits of faces. The result of a face does not depend on the others."""

    def __init__(self, network: MultiscaleNet, device: torch.device, *, mirrored: bool) -> None:
        """network: in evaluation mode; it is copied. mirrored: average with the mirror image's logits."""
        self._network, self._device, self._mirrored = on_device(fused(network), device), device, mirrored
        self._classes = len(network.config.classes)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, K)."""
        parts = [self._padded(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        return np.concatenate([np.zeros((0, self._classes), np.float64), *parts])

    def _padded(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """At most BATCH crops -> their logits."""
        full = np.zeros((BATCH, *crops.shape[1:]), np.uint8)
        full[: len(crops)] = crops
        faces = torch.from_numpy(full).to(self._device)
        faces = faces.unsqueeze(1) if faces.ndim == 3 else faces.permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits = self._both(faces.float())
        return logits[: len(crops)].double().cpu().numpy()

    def _both(self, faces: torch.Tensor) -> torch.Tensor:
        logits = self._network.logits(self._network(faces))
        if self._mirrored:
            logits = (logits + self._network.logits(self._network(faces.flip(-1)))) / 2
        return logits
