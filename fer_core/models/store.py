"""Models on disk: one safetensors file with all that results depend on, and a card for people beside it.

    MODEL/weights.safetensors   tensors; its metadata holds `ModelSpec` as JSON (sizes, temperature, review thresholds)
    MODEL/card.json             name, digest of that file, data, protocol, figures, known gaps

A model's digest is the SHA-256 of its weights file. Loading never executes code, and refuses files that differ from the card.
"""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fer_core.errors import ModelError
from fer_core.hashing import file_sha256
from fer_core.json_reader import parse_object
from fer_core.models.calibration import check_temperature
from fer_core.models.card import CARD, DEFAULT, MOST_CARD, SHIPPED, WEIGHTS, ModelRef, read_model
from fer_core.models.network_config import NetworkConfig
from fer_core.models.prior import ClassPrior
from fer_core.models.quantization import checked_ranges
from fer_core.models.registry import champion, promotions
from fer_core.models.review_thresholds import ReviewRule
from fer_core.models.tensor_file import read_tensor_file
from fer_core.storage.bounded_file import read_bounded
from fer_core.validation import check_entries

if TYPE_CHECKING:
    from torch import Tensor

    from fer_core.models.network import MultiscaleNet

__all__ = [
    "CARD",
    "DEFAULT",
    "SHIPPED",
    "WEIGHTS",
    "ModelRef",
    "ModelSpec",
    "incompatible_model",
    "load_model",
    "portable_name",
    "read_weights",
    "resolve_model",
    "rounded",
    "save_model",
    "shipped_names",
]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything beside the tensors that changes a result."""

    network: NetworkConfig
    temperature: float
    """Divides the logits; fitted on the development part."""
    flip: bool
    """Whether a face and its mirror image are averaged."""
    review: ReviewRule
    """Which labels need review, by calibrated confidence and entropy."""
    prior: ClassPrior | None = None
    """The class prior of training and how to answer under others. None: an earlier release's model, which answers by temperature and review
    limits alone."""
    ranges: dict[str, tuple[float, float]] | None = None
    """Least and largest activation of each of `network.activations()`, for labelling in eight bits on a CPU. None: single precision."""

    def __post_init__(self) -> None:
        """TypeError: an entry of another kind. ValueError: a temperature or ranges that no fit gives."""
        check_entries(self)
        check_temperature(self.temperature)
        if self.ranges is not None:
            checked_ranges(self.ranges, self.network.activations())

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        entries = {**asdict(self), "network": self.network.to_json()}
        later = ("prior", "ranges")  # models of earlier releases are described without them
        return {name: value for name, value in entries.items() if name not in later or value is not None}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `to_json` gave; anything else is a ValueError, TypeError or KeyError."""
        value = {**value, "network": NetworkConfig.from_json(value["network"])}
        if "review_confidence" in value:  # the format of specs before the entropy limit
            value["review"] = {"confidence": value.pop("review_confidence"), "entropy": 1.0}
        if "ranges" in value:
            value["ranges"] = checked_ranges(value["ranges"], value["network"].activations())
        prior = ClassPrior.from_json(value["prior"]) if "prior" in value else None
        return cls(**{**value, "review": ReviewRule(**value["review"]), "prior": prior})


def resolve_model(model: str) -> ModelRef:
    """A shipped name, a model folder, or a folder of models in which one was promoted (its champion) -> the card, read without torch."""
    folder = _folder(model)
    if folder is None:
        if (promoted := _champion(model)) is not None:
            return promoted
        known = ", ".join(shipped_names()) or "none yet"
        raise ModelError(f"unknown model {model!r}: neither a shipped name ({known}) nor a folder with a {CARD}")
    return read_model(folder)


def _folder(model: str) -> Path | None:
    """The folder of a model that is there."""
    try:
        folder = SHIPPED / model if _is_name(model) and (SHIPPED / model).is_dir() else Path(model).expanduser()
        return folder if (folder / CARD).is_file() else None
    except (OSError, RuntimeError, ValueError):  # longer than a name may be, no such user behind ~, a null character
        return None


def _champion(model: str) -> ModelRef | None:
    """The promoted model of a folder of models."""
    try:
        models = Path(model).expanduser()
        if not models.is_dir():
            return None
    except (OSError, RuntimeError, ValueError):  # as above
        return None
    return champion(models) if promotions(models) else None


def _is_name(model: str) -> bool:
    return model not in ("", ".", "..") and "/" not in model and "\\" not in model


def shipped_names() -> tuple[str, ...]:
    """Models that come with the package."""
    return tuple(sorted(entry.parent.name for entry in SHIPPED.glob(f"*/{CARD}")))


def portable_name(model: str, ref: ModelRef) -> str:
    """What other machines find a resolved model by: a shipped one by its name, any other by the path of its folder."""
    return model if model in shipped_names() else str(ref.path)


def read_weights(ref: ModelRef) -> tuple[dict[str, NDArray[np.float32]], ModelSpec]:
    """Tensors under the names of `MultiscaleNet.state_dict`, and the spec, without torch, for labelling, evaluation and training.
    ModelError: damaged or changed, not the tensors that the spec describes, or numbers that no training gives.
    """
    file = ref.path / WEIGHTS
    if not file.is_file():
        raise ModelError(f"the model has no {WEIGHTS}: {ref.path}")
    try:
        stored = read_tensor_file(file)
    except OSError as error:
        raise ModelError(f"cannot read {file} ({error.strerror})") from error
    except ValueError as error:
        if file_sha256(file) != ref.digest:
            raise _changed(file) from error
        raise incompatible_model(ref, error) from error
    if stored.digest != ref.digest:
        raise _changed(file)
    try:
        spec = ModelSpec.from_json(parse_object(stored.metadata["spec"]))
        return stored.tensors(spec.network.tensor_shapes()), spec
    except (ValueError, LookupError, TypeError) as error:
        raise incompatible_model(ref, error) from error


def _changed(file: Path) -> ModelError:
    return ModelError(f"the weights are not the ones the card names (damaged or changed): {file}")


def incompatible_model(ref: ModelRef, reason: Exception) -> ModelError:
    """The error for tensors that are not those of the network that the spec describes."""
    return ModelError(f"the weights do not fit their own description ({type(reason).__name__}: {reason}): {ref.path / WEIGHTS}")


def load_model(ref: ModelRef) -> tuple["MultiscaleNet", ModelSpec]:
    """The network in evaluation mode on the CPU, and its spec. Damaged, changed or ill-fitting files are a ModelError."""
    import torch

    from fer_core.models.network import MultiscaleNet

    tensors, spec = read_weights(ref)
    try:
        network = MultiscaleNet(spec.network)
        _fill(network, {name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    except (ValueError, LookupError, TypeError, RuntimeError) as error:
        raise incompatible_model(ref, error) from error
    return network.eval(), spec


def save_model(folder: Path, state: dict[str, "Tensor"], spec: ModelSpec, card: dict[str, Any], half: bool = False) -> ModelRef:
    """Write weights first and the card, which makes it a model, last. card: all but digest and spec, which are added.

    half: floats are stored in half precision; loading gives what `rounded` gives. ModelError where the disk refuses a write.
    """
    from safetensors.torch import save

    kept = {name: tensor.detach().cpu() for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    tensors = {name: (tensor.half() if half and tensor.is_floating_point() else tensor).contiguous() for name, tensor in kept.items()}
    # not save_file: that one makes a file that its owner alone may read
    _replace(folder / WEIGHTS, save(tensors, metadata={"spec": json.dumps(spec.to_json(), sort_keys=True)}))
    digest = file_sha256(folder / WEIGHTS)
    whole = {**_told_of(digest, folder / CARD), **card, "digest": digest, "spec": spec.to_json()}
    _replace(folder / CARD, (json.dumps(whole, indent=2) + "\n").encode())
    return resolve_model(str(folder.absolute()))  # a bare name would be a shipped model's


def _told_of(digest: str, file: Path) -> dict[str, Any]:
    """Entries of an existing card of the same weights, whose added figures still hold."""
    try:
        card = parse_object(read_bounded(file, MOST_CARD), MOST_CARD)
    except (OSError, ValueError):
        return {}
    return card if card.get("digest") == digest else {}


def _replace(file: Path, data: bytes) -> None:
    """Write a file and its folder, whole or not at all."""
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(file)
    except OSError as error:
        raise ModelError(f"cannot write the model {file.parent} ({error.strerror})") from error


def rounded(network: "MultiscaleNet") -> "MultiscaleNet":
    """A copy whose weights went through half precision, as in a model that is stored so."""
    copied = copy.deepcopy(network)
    for tensor in copied.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    return copied


def _fill(network: "MultiscaleNet", tensors: dict[str, "Tensor"]) -> None:
    """Load exactly the network's tensors; the step counters of batch norm, which only training reads, are not stored."""
    missing, unexpected = network.load_state_dict(tensors, strict=False)
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise ValueError("tensors are missing or foreign")
