"""The state of one training run, and one epoch of it."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from fer_core.errors import TrainingError
from fer_core.losses.choice import build
from fer_core.losses.directions import unit
from fer_core.models.network import MultiscaleNet, on_device
from fer_core.models.store import ModelRef, load_model
from fer_core.training.augment import augment
from fer_core.training.checkpoint import Progress
from fer_core.training.config import TrainConfig
from fer_core.training.dataset import TrainingData
from fer_core.training.distributed import Ranks
from fer_core.training.optimizer import SamOptimizer, rate, update_average, warmed


class TrainingRun:
    """Network, averaged network, the best average so far, loss and optimiser on one device of one process."""

    def __init__(
        self, config: TrainConfig, device: torch.device, ranks: Ranks, material: TrainingData, start: ModelRef | None = None
    ) -> None:
        """start: a model of the same network, or of one whose head alone differs, to begin from instead of random weights."""
        if config.batch < 2 * ranks.world:
            raise TrainingError(f"a batch of {config.batch} is too small for {ranks.world} processes: each needs two faces")
        self.config, self.device, self.ranks = config, device, ranks
        self.material = material.to(device)
        self.steps = len(material) // config.batch
        self.progress = Progress()
        torch.manual_seed(config.seed)
        self.network = on_device(MultiscaleNet(config.network), device)
        with torch.no_grad():
            if self.network.class_bias is not None:
                self.network.class_bias.copy_(log_prior(material))
            if config.centers == "simplex":
                self.network.centers.copy_(simplex(self.network.centers))
        self.network.centers.requires_grad_(config.centers != "simplex")
        if start is not None:
            self.network.load_state_dict(_weights(start, config), strict=False)
        self._onto_the_sphere()
        self.average, self.best = copy.deepcopy(self.network), copy.deepcopy(self.network)
        width = config.network.embedding
        self.loss = build(config.loss, config.network.logit_scale, len(config.network.classes), width).to(device)
        directions = [self.network.centers] if config.network.classifier == "cosine" else []
        pace = (config.learning_rate, config.weight_decay, config.sam_radius)
        self.optimiser = SamOptimizer(self.network, self.loss, *pace, directions)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that the next step depends on, by name; loading a checkpoint copies into them."""
        parts = {"network": self.network, "average": self.average, "best": self.best, "loss": self.loss}
        state = {f"{kind}.{name}": tensor for kind, part in parts.items() for name, tensor in part.state_dict().items()}
        return {**state, **self.optimiser.tensors()}

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last `patience` ones brought no improvement."""
        done = self.progress
        waited = self.config.patience and done.epochs - done.best_epoch >= self.config.patience
        return done.epochs >= self.config.epochs or bool(waited)

    def epoch(self, tick: Callable[[int, int], None], keep: Callable[[], None] | None = None, keep_after: float = math.inf) -> float:
        """One pass in a random order that seed and epoch alone decide; returns the mean loss a step. tick: told steps done, of how many.

        keep: saves the run as it is, also amid an epoch, `keep_after` seconds after the last time; only for one process on a CPU, where
        `progress` holds the state of both generators. TrainingError: the loss is no longer a number.
        """
        seed = 1_000_003 * self.config.seed + self.progress.epochs
        order = torch.randperm(len(self.material), generator=torch.Generator().manual_seed(seed))
        drawn = torch.Generator().manual_seed(seed + 7919 * (self.ranks.rank + 1))  # each process augments its own faces its own way
        torch.manual_seed(seed + self.ranks.rank)  # dropout
        total = torch.full((), self.progress.total, device=self.device)
        if self.progress.steps:
            drawn.set_state(_state(self.progress.augment_state))
            torch.set_rng_state(_state(self.progress.dropout_state))
        self.network.train()
        kept = time.monotonic()
        with repeatable(self.device):
            for step in range(self.progress.steps, self.steps):
                batch = self.ranks.share(order[step * self.config.batch : (step + 1) * self.config.batch]).to(self.device)
                self.loss.at((self.progress.epochs * self.steps + step) / (self.config.epochs * self.steps))
                faces = augment(self.material.faces[batch].float(), self.config.augment, drawn)
                total += self.optimiser.step(lambda f=faces, b=batch: self._loss(f, b), self._rate(step), self.ranks.average)  # type: ignore[misc]
                self._onto_the_sphere()
                update_average(self.average, self.network, warmed(self.config.average, self.progress.epochs * self.steps + step))
                if keep is not None and time.monotonic() - kept >= keep_after and step + 1 < self.steps:
                    states = (bytes(state.tolist()).hex() for state in (drawn.get_state(), torch.get_rng_state()))
                    self.progress = self._amid(step + 1, float(total), *states)
                    keep()
                    kept = time.monotonic()
                tick(step + 1, self.steps)
        self.progress = self._amid(0, 0.0, "", "")
        # loss and batch norm saw other faces in each process
        self.ranks.average([total, *self.average.buffers(), *self.network.buffers()])
        mean = float(total) / self.steps
        if not math.isfinite(mean) or not all(bool(p.isfinite().all()) for p in self.network.parameters()):
            raise TrainingError(
                f"epoch {self.progress.epochs + 1} ended with weights that are not finite: lower the learning rate or the balance"
            )
        return mean

    def _amid(self, steps: int, total: float, augment_state: str, dropout_state: str) -> Progress:
        return replace(self.progress, steps=steps, total=total, augment_state=augment_state, dropout_state=dropout_state)

    def judge(self, accuracy: float, loss: float) -> None:
        """Count the epoch, and keep its averaged weights where they are the best so far on the held-back faces."""
        done = self.progress
        self.progress = replace(done, epochs=done.epochs + 1)
        if (accuracy, -loss) > (done.best_accuracy, -done.best_loss):
            self.best.load_state_dict(self.average.state_dict())
            self.progress = replace(self.progress, best_epoch=done.epochs + 1, best_accuracy=accuracy, best_loss=loss)

    @property
    def learning_rate(self) -> float:
        """At the last step that was taken."""
        return self.config.learning_rate * rate(self.progress.epochs * self.steps - 1, self.steps, self.config.epochs)

    def _rate(self, step: int) -> float:
        return rate(self.progress.epochs * self.steps + step, self.steps, self.config.epochs)

    def _loss(self, faces: Tensor, batch: Tensor) -> Tensor:
        wanted = self.config.precision
        half = wanted == "bf16" or (wanted == "auto" and self.device.type == "cuda")
        with torch.autocast(self.device.type, torch.bfloat16) if half else nullcontext():
            embeddings = self.network(faces)
        targets, weights = self.material.targets[batch], self.material.weights[batch]
        loss: Tensor = self.loss(embeddings, self.network.centers, targets, weights, self.network.class_bias)
        return loss

    def _onto_the_sphere(self) -> None:
        if self.config.centers == "sphere":
            with torch.no_grad():
                self.network.centers.copy_(unit(self.network.centers))


def _state(told: str) -> Tensor:
    return torch.tensor(list(bytes.fromhex(told)), dtype=torch.uint8)


def log_prior(data: TrainingData) -> Tensor:
    """(K,) log shares of the classes among targets, each face at its weight; a class without a face counts as one in 100,000."""
    shares = (data.targets.double() * data.weights.double()[:, None]).sum(0)
    return (shares / shares.sum().clamp_min(1e-12)).clamp_min(1e-5).log().float()


def simplex(directions: Tensor) -> Tensor:
    """(K, D) -> (K, D) unit vectors, each pair at cosine -1 / (K - 1), as close to the orthonormal base of `directions` as that allows."""
    base: Tensor = torch.linalg.qr(directions.double().T).Q.T  # (K, D)
    return unit(base - base.mean(0)).to(directions.dtype)


def logits(network: MultiscaleNet, crops: NDArray[np.uint8], device: torch.device) -> NDArray[np.float64]:
    """(N, 112, 112) luma -> (N, K) logits averaged over the mirror image, as a shipped model labels."""
    network.eval()
    parts = [np.zeros((0, len(network.config.classes)))]
    with torch.inference_mode():
        for start in range(0, len(crops), 256):
            faces = torch.from_numpy(crops[start : start + 256]).to(device).float().unsqueeze(1)
            both = network.logits(network(faces)) + network.logits(network(faces.flip(-1)))
            parts.append((both / 2).double().cpu().numpy())
    return np.concatenate(parts)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On CUDA, kernels that add up in a fixed order: cuDNN's and the fused attentions' fastest gradients do not. CPU kernels do anyway."""
    if device.type != "cuda":
        yield
        return
    before, torch.backends.cudnn.deterministic = torch.backends.cudnn.deterministic, True
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cudnn.deterministic = before


def _weights(start: ModelRef, config: TrainConfig) -> dict[str, Tensor]:
    """Those that the network to be trained has, too. The norm of its embedding, its class bias and its scale may be others."""
    network, spec = load_model(start)
    wanted = config.network
    head_alike = replace(spec.network, affine=wanted.affine, class_bias=wanted.class_bias, logit_scale=wanted.logit_scale)
    if head_alike != wanted:
        raise TrainingError(f"cannot start from {start.path}: its network is not the one to be trained")
    return dict(network.state_dict())
