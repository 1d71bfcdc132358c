"""Aligned faces -> calibrated probabilities of the eight expressions."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.calibrate import softmax
from fer_core.errors import ModelError
from fer_core.fusion import fused
from fer_core.labels import EXPRESSIONS
from fer_core.models import ModelRef, load_model, resolve_model
from fer_core.network import MultiscaleNet, on_device
from fer_core.review_rule import normalised_entropy
from fer_core.types import Predictions

if TYPE_CHECKING:
    from fer_core.network_graph import NetworkSession

BATCH: Final = 64
"""Where torch runs the network, every batch is filled up to this: its sums depend on a batch's size, and answers must not."""
DECIMALS: Final = 4

Device = Literal["auto", "cpu", "cuda"]


class Predictor:
    """One model on one device: ONNX Runtime on a CPU, torch elsewhere. Not for several threads at once."""

    def __init__(self, ref: ModelRef, device: Device = "auto") -> None:
        self.ref, self.digest = ref, ref.digest
        network, self.spec = load_model(ref)
        if self.spec.network.classes != EXPRESSIONS:
            raise ModelError(f"the model does not know the eight expressions in their order: {ref.path}")
        self._device = torch_device(device)
        self._session = _session(network, mirrored=self.spec.flip) if self._device.type == "cpu" else None
        self._network = on_device(fused(network), self._device) if self._session is None else None

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, 8) logits, mirror image averaged if the spec says so."""
        if self._session is not None:
            return self._session.logits(crops)
        parts = [self._padded(crops[start : start + BATCH]) for start in range(0, len(crops), BATCH)]
        return np.concatenate([np.zeros((0, len(EXPRESSIONS)), np.float64), *parts])

    def probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112[, 3]) -> (N, 8) calibrated, not rounded."""
        return softmax(self.logits(crops) / self.spec.temperature)

    def predict(self, crops: NDArray[np.uint8]) -> Predictions:
        """(N, 112, 112, 3) RGB uint8 -> predictions, probabilities rounded to four decimals that sum to 1."""
        rounded = round_to_one(self.probabilities(crops))
        confidence = rounded.max(axis=1, initial=0)
        entropy = normalised_entropy(rounded)
        return Predictions(
            probabilities=rounded.astype(np.float32),
            expression=rounded.argmax(axis=1).astype(np.int64),
            confidence=confidence.astype(np.float32),
            entropy=entropy.astype(np.float32),
            needs_review=self.spec.review.applies(confidence, entropy),
        )

    def _padded(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """At most BATCH crops -> their logits."""
        full = np.zeros((BATCH, *crops.shape[1:]), np.uint8)
        full[: len(crops)] = crops
        faces = torch.from_numpy(full).to(self._device)
        faces = faces.unsqueeze(1) if faces.ndim == 3 else faces.permute(0, 3, 1, 2)
        with torch.inference_mode():
            logits = self._logits(faces.float())
        return logits[: len(crops)].double().cpu().numpy()

    def _logits(self, faces: torch.Tensor) -> torch.Tensor:
        assert self._network is not None
        logits = self._network.logits(self._network(faces))
        if self.spec.flip:
            logits = (logits + self._network.logits(self._network(faces.flip(-1)))) / 2
        return logits


def _session(network: MultiscaleNet, *, mirrored: bool) -> "NetworkSession | None":
    """None without ONNX Runtime: torch gives the same answers more slowly."""
    if find_spec("onnxruntime") is None:
        return None
    from fer_core.network_graph import NetworkSession  # noqa: PLC0415  (loads ONNX Runtime, which machines with a GPU may lack)

    return NetworkSession(network, mirrored=mirrored)


def load_predictor(model: str, device: Device = "auto") -> Predictor:
    """A shipped name or a model folder -> predictor."""
    return Predictor(resolve_model(model), device)


def torch_device(device: Device) -> torch.device:
    """`auto` is the GPU where torch sees one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device cuda was asked for, but torch sees no CUDA device here")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def round_to_one(probabilities: NDArray[np.float64], decimals: int = DECIMALS) -> NDArray[np.float64]:
    """Round rows (N, K) that sum to 1 so that they still do: largest remainder, ties to the first class.

    Each value moves by less than 10^-decimals, and no class overtakes another.
    """
    unit = 10**decimals
    scaled = probabilities * unit
    whole = np.floor(scaled)
    missing = unit - whole.sum(axis=1)
    # the value itself decides between equal remainders: two values one ulp apart may be equal once scaled
    rank = np.argsort(np.lexsort((-probabilities, whole - scaled)), axis=1, kind="stable")
    return np.asarray((whole + (rank < missing[:, None])) / unit, np.float64)
