"""Aligned faces -> calibrated probabilities of the eight expressions."""

import os
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.labels import EXPRESSIONS
from fer_core.models.store import ModelRef, ModelSpec, incompatible_model, read_weights, resolve_model
from fer_core.predict.answer_rule import MODELS_OWN, AnswerOptions, answer_rule
from fer_core.types import Predictions

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda"]

NVIDIA: Final = ("/dev/nvidiactl", "/dev/dxg")
"""Device files of a driver on Linux and in its subsystem on Windows: without them torch, which takes two seconds to load, is not needed."""


class Logits(Protocol):
    """A network ready for labelling."""

    def logits(self, crops: NDArray[np.uint8], /) -> NDArray[np.float64]:
        """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, 8) logits, each of which depends on its own crop alone."""
        ...


class Predictor:
    """One model on one device: ONNX Runtime on a CPU, torch elsewhere. Not for several threads at once."""

    def __init__(self, ref: ModelRef, device: Device = "auto", options: AnswerOptions = MODELS_OWN, *, quantized: bool = True) -> None:
        """options: see `answer_rule`. quantized: whether a CPU computes in eight bits where the model has its ranges.

        ModelError: no such device, or a model that cannot answer so.
        """
        self.ref, self.digest = ref, ref.digest
        self._network, self.spec = _network(ref, device, quantized)
        if self.spec.network.classes != EXPRESSIONS:
            raise ModelError(f"the model does not have the eight expressions in their order: {ref.path}")
        self.rule = answer_rule(ref, self.spec, options)

    def logits(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112, 3) RGB or (N, 112, 112) luma -> (N, 8) logits, mirror image averaged if the spec has `flip`."""
        return self._network.logits(crops)

    def probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """(N, 112, 112[, 3]) -> (N, 8) calibrated, not rounded."""
        return self.rule.probabilities(self.logits(crops))

    def predict(self, crops: NDArray[np.uint8]) -> Predictions:
        """(N, 112, 112, 3) RGB uint8 -> predictions, probabilities rounded to four decimals that sum to 1."""
        return self.rule.predictions(self.logits(crops))


def _network(ref: ModelRef, device: Device, quantized: bool) -> tuple[Logits, ModelSpec]:
    """A CPU without ONNX Runtime gets the results of single precision from torch, more slowly."""
    if on_cpu(device) and find_spec("onnxruntime") is not None:
        from fer_core.predict.onnx_backend import NetworkSession

        tensors, spec = read_weights(ref)
        try:
            return NetworkSession(spec.network, tensors, spec.ranges if quantized else None, mirrored=spec.flip), spec
        except (LookupError, ValueError, RuntimeError) as error:
            raise incompatible_model(ref, error) from error
    from fer_core.models.store import load_model
    from fer_core.predict.torch_backend import TorchNetwork

    network, spec = load_model(ref)
    return TorchNetwork(network, torch_device(device), mirrored=spec.flip), spec


def load_predictor(model: str, device: Device = "auto", options: AnswerOptions = MODELS_OWN) -> Predictor:
    """A shipped name or a model folder -> predictor. options: see `answer_rule`."""
    return Predictor(resolve_model(model), device, options)


def on_cpu(device: Device) -> bool:
    """Whether this device is a CPU here, without loading torch where that is possible. ModelError as of `torch_device`."""
    if device == "auto" and "torch" not in sys.modules and not any(os.path.exists(place) for place in NVIDIA):
        return True
    return device == "cpu" or torch_device(device).type == "cpu"


def torch_device(device: Device) -> "torch.device":
    """`auto` is the GPU where torch sees one."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ModelError("device cuda is not available: torch finds no CUDA device here")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
