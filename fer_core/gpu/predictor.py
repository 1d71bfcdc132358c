"""The network on one GPU: half precision where it is heavy, one size of batch, recorded once. See `predict` for the reference."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_core.errors import ModelError
from fer_core.gpu.graphs import Graphs, recorder_for
from fer_core.gpu.pinned_transfer import Download, Downloads, Uploads
from fer_core.labels import EXPRESSIONS
from fer_core.models.network import MultiscaleNet, luma, standardised
from fer_core.models.store import ModelRef, ModelSpec, load_model, resolve_model
from fer_core.predict.answer_rule import MODELS_OWN, AnswerOptions, answer_rule
from fer_core.predict.fusion import fused
from fer_core.types import Predictions

BATCH: Final = 256
"""Every batch is padded to this: the last bits of a sum depend on the size of a batch, and results must not. Large enough to keep a
large GPU busy, and small enough that a single face takes no more than a millisecond or two."""


class GpuPredictor:
    """One model on one device, with the methods of `predictor.Predictor`. One instance a thread.

    model: what `resolve_model` takes, or its result. dtype: of the stem, the stages and the attention; standardising the face, the fused
    vector, the norms behind it and the classifier stay in single precision. options: see
    `answer_rule`. ModelError: no such model, or not of the eight expressions.
    """

    def __init__(
        self,
        model: ModelRef | str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float16,
        batch: int = BATCH,
        options: AnswerOptions = MODELS_OWN,
    ) -> None:
        self.ref = resolve_model(model) if isinstance(model, str) else model
        self.digest = self.ref.digest
        network, self.spec = load_model(self.ref)
        if self.spec.network.classes != EXPRESSIONS:
            raise ModelError(f"the model does not have the eight expressions in their order: {self.ref.path}")
        self.rule = answer_rule(self.ref, self.spec, options)
        self._device, self._batch = device or torch.device("cuda"), batch
        self._pass = FacePass(network, self.spec, self._device, dtype)
        self._graphs = Graphs(self._pass, recorder_for(self._device))
        self._uploads, self._downloads = Uploads(self._device), Downloads(self._device)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, 8) logits, mirror image averaged if the spec has `flip`."""
        found = [np.zeros((0, len(EXPRESSIONS)), np.float64)]
        running: Download | None = None
        with torch.inference_mode():
            for start in range(0, len(crops), self._batch):
                started = self._start(crops[start : start + self._batch])  # is uploaded while the batch before is computed
                if running is not None:
                    found.append(running.wait()[0].astype(np.float64))
                running = started
        if running is not None:
            found.append(running.wait()[0].astype(np.float64))
        return np.concatenate(found)

    def probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112[, 3]) -> (N, 8) calibrated, not rounded."""
        return self.rule.probabilities(self.logits(crops))

    def predict(self, crops: NDArray[np.uint8]) -> Predictions:
        """(N, 112, 112, 3) RGB uint8 -> predictions, probabilities rounded to four decimals that sum to 1."""
        return self.rule.predictions(self.logits(crops))

    def _start(self, crops: NDArray[np.uint8]) -> Download:
        """At most a batch of crops, queued."""
        _, (sent,) = self._uploads.send([], [crops])
        faces = sent.new_zeros((self._batch, *crops.shape[1:]))
        faces[: len(crops)] = sent
        return self._downloads.fetch([self._graphs(faces)[: len(crops)]])


class FacePass:
    """Computation of a batch of crops on the device."""

    def __init__(self, network: MultiscaleNet, spec: ModelSpec, device: torch.device, dtype: torch.dtype) -> None:
        self._network, self._spec, self._dtype = halved(fused(network), device, dtype), spec, dtype
        # the network's own would come from the host each time, and the host would wait for the device
        self._luma = luma(torch.eye(3)[:, :, None, None]).view(1, 3, 1, 1).to(device)

    def __call__(self, faces: Tensor) -> Tensor:
        """(B, 112, 112, 3) or (B, 112, 112) uint8 -> (B, 8) logits, float32. With `flip`, mirror images are in the same batch."""
        grey = faces.unsqueeze(1).float() if faces.ndim == 3 else (faces.permute(0, 3, 1, 2).float() * self._luma).sum(1, keepdim=True)
        looks = standardised(grey, self._spec.network.scale)
        if self._spec.flip:
            looks = torch.cat([looks, looks.flip(-1)])  # the network's window lies in the middle of the crop
        embeddings = self._network.embedded(looks.to(dtype=self._dtype, memory_format=torch.channels_last))
        logits = self._network.logits(embeddings)
        return logits.view(-1, len(faces), logits.shape[1]).mean(0)


def halved(network: MultiscaleNet, device: torch.device, dtype: torch.dtype) -> MultiscaleNet:
    """The network in place: its features in `dtype`, the fused vector, the norms behind it and the classes in single precision."""
    for module in (network.stem, network.stages, network.attention):
        module.to(dtype)
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]  # torch's annotation lacks it
