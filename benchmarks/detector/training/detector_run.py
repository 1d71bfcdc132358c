"""One training run of the built-in detector: resumable, the same for the same seed on the same kind of device."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from benchmarks.detector.training.assignment import Truth, assigned
from benchmarks.detector.training.batches import Batch, TrainedTeacher, batches
from benchmarks.detector.training.detection_loss import detection_loss
from benchmarks.detector.training.distillation import distillation_loss
from benchmarks.detector.training.material import TrainingImage, material_digest
from benchmarks.detector.training.scenes import SceneMaker
from fer_core.detect.builtin.network import DetectionConfig, DetectionNet, DetectionOutputs, unfold_batch_norm
from fer_core.detect.builtin.weights import load_detector
from fer_core.hashing import file_sha256
from fer_core.training.checkpoint import Progress, load_checkpoint, save_checkpoint

CHECKPOINT: Final = "detector"
AVERAGE: Final = 0.999
"""Share that the averaged weights keep in every step."""
WARM_UP: Final = 300
"""Steps over which the learning rate rises."""
SAVE_EVERY: Final = 250
SAY_EVERY: Final = 50
SETTLING: Final = 64
"""Scenes that the norms of weights from a file are settled on."""
CLIP: Final = 10.0
"""Largest norm of a step's gradient."""

SIZES: Final = {"small": DetectionConfig((8, 16), (24, 32, 64), (1, 2, 2), 24), "large": DetectionConfig()}
"""Networks of 802 and 2,815 multiply-adds a pixel."""


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What makes one run."""

    steps: int = 12000
    batch: int = 32
    side: int = 320
    """Of the scenes, in pixels."""
    rate: float = 2e-3
    decay: float = 0.02
    seed: int = 0
    bfloat16: bool = False
    """Convolutions in half precision; for GPUs and CPUs with matrix units (AMX)."""
    network: DetectionConfig = field(default_factory=DetectionConfig)
    """Sizes of drawn weights; those of a file say theirs."""


class DetectorRun:
    """The network, its averaged weights, the optimiser and how far they are."""

    def __init__(
        self,
        config: RunConfig,
        pictures: Sequence[TrainingImage],
        device: torch.device,
        folder: Path,
        start: Path | None = None,
        *,
        teacher: Path | None = None,
    ) -> None:
        """start: a weights file to learn on from; without it the weights are drawn. teacher: a weights file to learn from as well.

        DetectorError: one of those files cannot be read. TrainingError: the folder holds another run.
        """
        torch.manual_seed(config.seed)
        self.config, self.device, self._file = config, device, folder / CHECKPOINT
        self._pictures, self._digest = pictures, material_digest(pictures)
        self._maker = SceneMaker(pictures, config.side, config.seed)
        network = DetectionNet(config.network, norm=True) if start is None else self._learnt(start)
        self._teacher = None if teacher is None else TrainedTeacher(load_detector(teacher), config.bfloat16)
        self._files = {name: file_sha256(file) for name, file in (("start", start), ("teacher", teacher)) if file is not None}
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation lacks it
        self._average = {name: tensor.detach().clone().float() for name, tensor in self.network.state_dict().items()}
        self._optimiser = torch.optim.AdamW(self.network.parameters(), lr=config.rate, weight_decay=config.decay, betas=(0.9, 0.99))
        self._prime()
        self.step = load_checkpoint(self._file, self._tensors(), self._identity()).epochs
        self._restore_steps()

    def learn(
        self, until: int, processes: int, say: Callable[[str], None], *, say_every: int = SAY_EVERY, save_every: int = SAVE_EVERY
    ) -> None:
        """Go on to step `until`, saving every `save_every` steps, with a line of progress for `say` every `say_every`."""
        self.network.train()
        started, sums, first, summed = time.monotonic(), torch.zeros(3), self.step, 0
        numbers = range(self.step, min(until, self.config.steps))
        for batch in batches(self._maker, self.config.batch, numbers, processes, self._teacher):
            sums, summed = sums + self._update(batch), summed + 1
            if self.step % say_every == 0:
                pace = self.config.batch * (self.step - first) / (time.monotonic() - started)
                score, box, points = (sums / summed).tolist()
                say(f"step {self.step} score {score:.4f} box {box:.4f} points {points:.4f} {pace:.0f} scenes/s")
                sums, summed = torch.zeros(3), 0
            if self.step % save_every == 0:
                self.save()
        self.save()

    def averaged(self) -> DetectionNet:
        """The network with its averaged weights."""
        network = DetectionNet(self.network.config, norm=True)
        network.load_state_dict({name: tensor.to(network.state_dict()[name].dtype) for name, tensor in self._average.items()})
        return network.eval()

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(self._file, self._tensors(), Progress(epochs=self.step), self._identity())

    def _learnt(self, start: Path) -> DetectionNet:
        """What a weights file holds, its batch norm settled on a few of the run's scenes."""
        scenes = next(batches(self._maker, SETTLING, range(1), 0))
        return unfold_batch_norm(load_detector(start), scenes.pictures.float())

    def _update(self, batch: Batch) -> Tensor:
        """One step; returns (3,) score, box and point loss."""
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate()
        pictures = batch.pictures.to(self.device, torch.float32, memory_format=torch.channels_last)
        told = batch.truth
        told = Truth(*(part.to(self.device) for part in (told.boxes, told.points, told.known, told.unsure)))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16):
            seen = self.network(pictures)
        assignment = assigned(seen, told)
        loss = detection_loss(seen, told, assignment)
        total = loss.total
        if batch.taught is not None:
            taught = _moved(batch.taught, self.device)
            total = total + distillation_loss(seen, taught, told, assignment).total
        self._optimiser.zero_grad(set_to_none=False)
        total.backward()  # type: ignore[no-untyped-call]  # torch's annotation lacks it
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self._optimiser.step()
        self.step += 1
        self._follow()
        return torch.stack([loss.score, loss.box, loss.points]).detach().cpu()

    def _rate(self) -> float:
        """Rises over the first steps, then falls as a cosine to a hundredth."""
        done = self.step / self.config.steps
        fall = 0.01 + 0.99 * 0.5 * (1 + float(torch.cos(torch.tensor(done * torch.pi))))
        return self.config.rate * min(1.0, (self.step + 1) / WARM_UP) * fall

    @torch.no_grad()
    def _follow(self) -> None:
        """The average moves towards the weights, quicker at first."""
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        for name, tensor in self.network.state_dict().items():
            self._average[name].lerp_(tensor.float(), 1 - keep)

    def _prime(self) -> None:
        """Make the optimiser's state exist, so that a checkpoint can be copied into it."""
        for parameter in self.network.parameters():
            state = self._optimiser.state[parameter]
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)

    def _restore_steps(self) -> None:
        for parameter in self.network.parameters():
            self._optimiser.state[parameter]["step"].fill_(self.step)

    def _tensors(self) -> dict[str, Tensor]:
        """All that a resumed run needs, by name."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        for name, parameter in self.network.named_parameters():
            for moment in ("exp_avg", "exp_avg_sq"):
                tensors[f"{moment}.{name}"] = self._optimiser.state[parameter][moment]
        return tensors

    def _identity(self) -> dict[str, object]:
        identity: dict[str, object] = {
            "config": {**asdict(self.config), "network": self.network.config.to_json()},
            "pictures": self._digest,
        }
        return {**identity, **self._files}


def _moved(outputs: DetectionOutputs, device: torch.device) -> DetectionOutputs:
    logits, boxes, points, centres = (part.to(device) for part in (outputs.logits, outputs.boxes, outputs.points, outputs.centres))
    return DetectionOutputs(logits, boxes, points, centres, outputs.grids)
