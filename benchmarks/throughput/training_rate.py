"""Steps a second of training, beside the bare network's forward and backward passes on random faces.

    python -m benchmarks.throughput.training_rate --to FIGURES [--seconds 60]

A step of `fer_core`'s training run (a batch drawn, augmented, passed, the loss of the shipped recipe, the optimiser, the moving average of
the weights) on a made set of random faces, for `tiny` and `base` as their recipes have them, on all cores. The limit is the same network in
training mode: forward, cross-entropy, backward, as often a step as the recipe's optimiser asks (twice where it is sharpness-aware).
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.common.record import machine, write_record
from fer_core.labels import EXPRESSIONS
from fer_core.models.network import MultiscaleNet, on_device
from fer_core.training.config import TrainConfig
from fer_core.training.dataset import TrainingData
from fer_core.training.distributed import Ranks
from fer_core.training.run import TrainingRun

BATCHES = 2
"""In the made set."""


def main() -> None:
    """Measure and write training_rate.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["tiny", "base"], choices=["tiny", "base"])
    parser.add_argument("--seconds", type=float, default=60.0, help="for each model and its limit")
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    args = parser.parse_args()
    about = machine()
    figures = {name: measured(recipe(name), args.seconds) for name in args.models}
    write_record(args.to, "training_rate", {"threads": torch.get_num_threads(), "models": figures}, about)


def recipe(name: str) -> TrainConfig:
    """The recipe that comes along."""
    return TrainConfig.from_json(json.loads((files("fer_core") / "recipes" / f"{name}.json").read_text(encoding="utf-8")))


def measured(config: TrainConfig, seconds: float) -> dict[str, Any]:
    """Steps and faces a second of a run, and of the bare network, in turns; medians."""
    run = TrainingRun(config, torch.device("cpu"), Ranks(), random_faces(BATCHES * config.batch))
    bare, passes = bare_pass(config), 2 if config.sam_radius > 0 else 1
    turns: list[Callable[[], Any]] = [lambda: run.epoch(lambda done, of: None), lambda: [bare() for _ in range(BATCHES * passes)]]
    step, limit = (statistics.median(taken) / BATCHES for taken in in_turns(turns, seconds))
    return {
        "batch": config.batch,
        "passes": passes,
        "steps_per_second": 1 / step,
        "faces_per_second": config.batch / step,
        "limit_steps_per_second": 1 / limit,
        "share": limit / step,
    }


def random_faces(count: int) -> TrainingData:
    """Noise with random classes: what a step costs does not depend on what is in the pictures."""
    drawn = np.random.default_rng(0)
    faces = torch.from_numpy(drawn.integers(0, 256, (count, 1, 112, 112), np.uint8))
    targets = F.one_hot(torch.from_numpy(drawn.integers(0, len(EXPRESSIONS), count)), len(EXPRESSIONS)).float()
    return TrainingData(faces, targets, torch.ones(count), torch.zeros(count, dtype=torch.bool))


def bare_pass(config: TrainConfig) -> Callable[[], None]:
    """Forward, cross-entropy and backward of a batch that is there already."""
    network = on_device(MultiscaleNet(config.network), torch.device("cpu")).train()
    faces = torch.rand(config.batch, 1, 112, 112) * 255
    classes = torch.arange(config.batch) % len(EXPRESSIONS)

    def once() -> None:
        network.zero_grad()
        torch.autograd.backward(F.cross_entropy(network.logits(network(faces)), classes))

    return once


def in_turns(works: Sequence[Callable[[], Any]], seconds: float) -> list[list[float]]:
    """Seconds of each call of each work, one after another until the time is over; the first round does not count, and one does."""
    taken: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    start = time.perf_counter()
    while not taken[0] or time.perf_counter() - start < seconds:
        for work, kept in zip(works, taken, strict=True):
            begin = time.perf_counter()
            work()
            kept.append(time.perf_counter() - begin)
    return taken


if __name__ == "__main__":
    main()
