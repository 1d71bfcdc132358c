"""Train a MultiscaleNet on a face set: vote targets, augmentation, averaged weights, exact resume, calibration on held-back faces."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fer_core.augment import AugmentConfig, augment
from fer_core.calibrate import fit_temperature
from fer_core.checkpoint import load_checkpoint, save_checkpoint
from fer_core.errors import TrainingError
from fer_core.evaluate import majority_classes, review_threshold
from fer_core.faceset import FaceSplit, carve_dev, read_card, read_split, vote_targets
from fer_core.labels import EXPRESSIONS
from fer_core.losses import CenterCosineLoss, LossConfig
from fer_core.models import ModelRef, ModelSpec, save_model
from fer_core.network import TINY, MultiscaleNet, NetworkConfig, luma, on_device
from fer_core.predict import Device, torch_device

STATE: Final = "checkpoint"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run; with the face set's bytes and one device it fixes the result."""

    name: str = "tiny"
    network: NetworkConfig = TINY
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 0.1
    """Peak, for SGD with Nesterov momentum 0.9; one warm-up epoch, then half a cosine down to zero."""
    weight_decay: float = 5e-4
    """On convolution and linear weights only."""
    average: float = 0.998
    """Decay a step of the exponential moving average of the weights; the average is what ships."""
    dev_share: float = 0.1
    """Part of the training groups held back for selection, temperature and review threshold."""
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {**asdict(self), "network": self.network.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Sizes may be left out (defaults); an unknown name is a TrainingError."""
        try:
            return cls(
                **{
                    **value,
                    "network": NetworkConfig.from_json({**TINY.to_json(), **value.get("network", {})}),
                    "loss": LossConfig(**value.get("loss", {})),
                    "augment": AugmentConfig(**value.get("augment", {})),
                }
            )
        except TypeError as error:
            raise TrainingError(f"the training configuration has a wrong entry: {error}") from error


@dataclass(frozen=True, slots=True)
class EpochReport:
    """What one epoch gave."""

    epoch: int
    """From 1."""
    epochs: int
    loss: float
    dev_accuracy: float
    """Averaged weights, majority protocol."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Material:
    """A split as tensors on the CPU."""

    faces: Tensor
    """(N, 1, 112, 112) uint8 luma."""
    targets: Tensor
    """(N, 8)."""
    weights: Tensor
    """(N,)."""


def train(  # noqa: PLR0917  (a table of plain values)
    faceset: Path,
    to: Path,
    config: TrainConfig,
    device: Device = "auto",
    resume: bool = False,
    report: Callable[[EpochReport], None] = lambda epoch: None,
) -> ModelRef:
    """Train on the set's `train` split and write the model `to / config.name`.

    With `resume` an interrupted run of the same configuration goes on after its last whole epoch and ends with the same weights as an
    undisturbed one on the same device.
    """
    rest, dev = carve_dev(read_split(faceset, "train"), config.dev_share)
    material = _material(rest)
    held_back = len(majority_classes(dev.votes, dev.kind)[1])
    if len(material.weights) < config.batch or held_back == 0:
        raise TrainingError(
            f"too few faces to train on: {len(material.weights)} for training, {held_back} held back, batches of {config.batch}"
        )
    run = _Run(config, torch_device(device), len(material.weights) // config.batch)
    folder = to / config.name
    first = load_checkpoint(folder / STATE, run.tensors(), config.to_json()) if resume else 0
    for epoch in range(first, config.epochs):
        start = time.monotonic()
        loss = run.epoch(material, epoch)
        accuracy = _accuracy(run.average, dev, run.device)
        save_checkpoint(folder / STATE, run.tensors(), epoch + 1, config.to_json())
        report(EpochReport(epoch + 1, config.epochs, loss, accuracy, time.monotonic() - start))
    return _finish(run, dev, folder, faceset)


class _Run:
    """Network, averaged network and optimiser of one training run."""

    def __init__(self, config: TrainConfig, device: torch.device, steps: int) -> None:
        self.config, self.device, self.steps = config, device, steps
        torch.manual_seed(config.seed)
        self.network = on_device(MultiscaleNet(config.network), device)
        self.average = on_device(MultiscaleNet(config.network), device)
        self.average.load_state_dict(self.network.state_dict())
        self.loss = CenterCosineLoss(config.network.logit_scale, config.loss)
        self.parameters = list(self.network.parameters())
        decayed = [p for p in self.parameters if p.ndim > 1 and p is not self.network.centers]
        others = [p for p in self.parameters if p.ndim <= 1 or p is self.network.centers]
        groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimiser = torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
        for p in self.parameters:  # there from the start, so that a checkpoint always has the same tensors
            self.optimiser.state[p]["momentum_buffer"] = torch.zeros_like(p)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, by name; loading a checkpoint copies into them."""
        momenta = {f"momentum.{i}": self.optimiser.state[p]["momentum_buffer"] for i, p in enumerate(self.parameters)}
        nets = {f"{kind}.{name}": t for kind in ("network", "average") for name, t in getattr(self, kind).state_dict().items()}
        return {**nets, **momenta}

    def epoch(self, material: Material, epoch: int) -> float:
        """One pass in a random order that seed and epoch alone decide; returns the mean loss."""
        generator = torch.Generator().manual_seed(1_000_003 * self.config.seed + epoch)
        torch.manual_seed(1_000_003 * self.config.seed + epoch)
        order = torch.randperm(len(material.weights), generator=generator)
        total = torch.zeros(())
        self.network.train()
        for step in range(self.steps):
            index = order[step * self.config.batch : (step + 1) * self.config.batch]
            for group in self.optimiser.param_groups:
                group["lr"] = self.config.learning_rate * rate(epoch * self.steps + step, self.steps, self.config.epochs)
            total += self._step(material, index, generator)
        return float(total) / self.steps

    def _step(self, material: Material, index: Tensor, generator: torch.Generator) -> Tensor:
        faces = augment(material.faces[index].float(), self.config.augment, generator).to(self.device)
        cosines = self.network.cosines(self.network(faces))
        targets, weights = material.targets[index].to(self.device), material.weights[index].to(self.device)
        loss: Tensor = self.loss(cosines, self.network.centers, targets, weights)
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.parameters, 5.0)
        self.optimiser.step()
        self._update_average()
        return loss.detach().cpu()

    def _update_average(self) -> None:
        with torch.no_grad():
            for mean, now in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
                if mean.is_floating_point():
                    mean.lerp_(now, 1 - self.config.average)
                else:
                    mean.copy_(now)


def rate(step: int, steps: int, epochs: int) -> float:
    """Share of the peak learning rate at `step`: linear warm-up over the first epoch, then half a cosine to zero at the end."""
    if step < steps:
        return (step + 1) / steps
    done = (step - steps) / max(1, steps * (epochs - 1))
    return float(0.5 * (1 + np.cos(np.pi * min(1.0, done))))


def _material(split: FaceSplit) -> Material:
    """Faces on which somebody saw an expression."""
    targets, weights = vote_targets(split.votes, split.kind)
    kept = np.flatnonzero(weights > 0)
    return Material(_luma_bytes(split.crops[kept]), torch.from_numpy(targets[kept]), torch.from_numpy(weights[kept]))


def _luma_bytes(crops: NDArray[np.uint8]) -> Tensor:
    """(N, 112, 112[, 3]) -> (N, 1, 112, 112) uint8."""
    faces = torch.from_numpy(crops)
    if faces.ndim == 3:
        return faces.unsqueeze(1)
    out = [luma(part.permute(0, 3, 1, 2).float()).round().to(torch.uint8) for part in torch.split(faces, 1024)]
    return torch.cat(out)


def _cosines(network: MultiscaleNet, faces: Tensor, device: torch.device) -> NDArray[np.float64]:
    """Averaged over the mirror image, as a shipped model labels."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for part in torch.split(faces, 256):
            x = part.to(device).float()
            both = network.cosines(network(x)) + network.cosines(network(x.flip(-1)))
            parts.append((both / 2).double().cpu().numpy())
    return np.concatenate(parts)


def _accuracy(network: MultiscaleNet, dev: FaceSplit, device: torch.device) -> float:
    classes, kept = majority_classes(dev.votes, dev.kind)
    said = _cosines(network, _luma_bytes(dev.crops[kept]), device).argmax(axis=1)
    return float((said == classes).mean())


def _finish(run: _Run, dev: FaceSplit, folder: Path, faceset: Path) -> ModelRef:
    """Calibrate on the held-back faces and write the model."""
    classes, kept = majority_classes(dev.votes, dev.kind)
    logits = _cosines(run.average, _luma_bytes(dev.crops[kept]), run.device) * run.config.network.logit_scale
    temperature = fit_temperature(logits, classes)
    review = review_threshold(logits / temperature, classes)
    spec = ModelSpec(run.config.network, temperature, flip=True, review_confidence=review)
    card = {
        "name": run.config.name,
        "task": "apparent facial expression of an aligned 112x112 face",
        "expressions": list(EXPRESSIONS),
        "trained_on": asdict(read_card(faceset)),
        "training": run.config.to_json(),
        "development": {"faces": len(classes), "protocol": "majority", "accuracy": float((logits.argmax(1) == classes).mean())},
    }
    return save_model(folder, run.average.state_dict(), spec, card)
