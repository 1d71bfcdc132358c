"""A small DetectionNet from a large trained one, to train on from: a part of its channels, fitted to its outputs.

    python -m benchmarks.detector.training.pruning out/detector/*.parquet --network small --to out/detector/pruned.safetensors

He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks" (ICCV 2017): of each layer the channels are kept that the next
layers use most, and each convolution of the small network is the least-squares fit to what the large one gives in those channels, from what
the small one has as its input. Layer by layer, so that later layers make up for the errors of earlier ones.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.detector.training.batches import batches
from benchmarks.detector.training.detector_run import SIZES, RunConfig
from benchmarks.detector.training.material import held_out, read
from benchmarks.detector.training.scenes import SceneMaker
from fer_core.detect.builtin.config import STRIDES, DetectionConfig
from fer_core.detect.builtin.network import DetectionNet
from fer_core.detect.builtin.weights import SHIPPED, load_detector, save_detector
from fer_core.errors import FerflowError

PLACES: Final = 40_000
"""Of a layer's outputs, drawn at random, that its weights are fitted to."""
RIDGE: Final = 1e-4
"""Of the mean square of the inputs, added to the normal equations."""
FACE: Final = 0.1
"""Score of the large network from which the box and the points of a place are fitted."""


@torch.no_grad()
def pruned(large: DetectionNet, config: DetectionConfig, pictures: Tensor) -> DetectionNet:
    """A network of `config`; both without batch norm. pictures: (B, 3, H, W) RGB, 0 to 255. ValueError: another number of blocks."""
    if config.blocks != large.config.blocks:
        raise ValueError("only networks with as many blocks are pruned")
    small = DetectionNet(config).eval()
    pair = _Pair(large, small)
    theirs = ours = pictures / 128 - 1
    theirs, ours = pair.layer("stem.0.conv", theirs, ours, "stem.1.conv")
    theirs, ours = pair.layer("stem.1.conv", theirs, ours, "stages.0.down.conv")
    maps = []
    for stage in range(len(STRIDES)):
        theirs, ours = pair.stage(stage, theirs, ours)
        maps.append((theirs, ours))
    pair.heads(maps)
    return small


@dataclass(frozen=True, slots=True)
class _Pair:
    """A trained network and the small one that is made of it. `theirs` are values in the trained one, `ours` in the small one."""

    large: DetectionNet
    small: DetectionNet

    def layer(self, name: str, theirs: Tensor, ours: Tensor, user: str) -> tuple[Tensor, Tensor]:
        """Fit one convolution, whose output the layer `user` gets; what both networks have after its ReLU."""
        before, little = _convolution(self.large, name)(theirs), _convolution(self.small, name)
        kept = _pivots(_gram(F.relu(before), [_convolution(self.large, user)]), little.out_channels)
        return F.relu(before), F.relu(_fitted(little, ours, before[:, kept]))

    def stage(self, stage: int, theirs: Tensor, ours: Tensor) -> tuple[Tensor, Tensor]:
        """Fit one stage. All its blocks have the same channels, which are those that its last output is best explained by."""
        blocks = [f"stages.{stage}.blocks.{block}" for block in range(self.large.config.blocks[stage])]
        users = [f"{block}.first.conv" for block in blocks] + [f"lateral.{stage}"]
        if stage + 1 < len(STRIDES):
            users.append(f"stages.{stage + 1}.down.conv")
        gram = _gram(self.large.stages[stage](theirs), [_convolution(self.large, user) for user in users])
        kept = _pivots(gram, self.small.config.widths[stage])
        name = f"stages.{stage}.down.conv"
        before = _convolution(self.large, name)(theirs)
        theirs, ours = F.relu(before), F.relu(_fitted(_convolution(self.small, name), ours, before[:, kept]))
        for block in blocks:
            name = f"{block}.second.conv"
            inner, mine = self.layer(f"{block}.first.conv", theirs, ours, name)
            before = theirs + _convolution(self.large, name)(inner)
            ours = F.relu(ours + _fitted(_convolution(self.small, name), mine, before[:, kept] - ours))
            theirs = F.relu(before)
        return theirs, ours

    def heads(self, maps: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Fit the layers after the stages, whose outputs are given, finest first. The levels are mixed in the same channels."""
        levels = range(len(STRIDES))
        mixed: list[Tensor] = []
        for level in reversed(levels):
            lateral = _convolution(self.large, f"lateral.{level}")(maps[level][0])
            mixed.insert(0, lateral + _enlarged(mixed[0]) if mixed else lateral)
        grams = [_gram(mixed[level], [_convolution(self.large, f"heads.{level}.conv")]) for level in levels]
        kept = _pivots(torch.stack(grams).sum(0), self.small.config.neck)
        ours = torch.zeros(())
        for level in reversed(levels):
            above = _enlarged(ours) if ours.dim() else ours
            ours = above + _fitted(_convolution(self.small, f"lateral.{level}"), maps[level][1], mixed[level][:, kept] - above)
            name = f"outputs.{level}"
            theirs, mine = self.layer(f"heads.{level}.conv", mixed[level], ours, name)
            numbers = _convolution(self.large, name)(theirs)
            _fitted(_convolution(self.small, name), mine, numbers, numbers[:, 0].sigmoid() > FACE)


def _enlarged(features: Tensor) -> Tensor:
    """As between the levels of a DetectionNet."""
    return F.interpolate(features, scale_factor=2.0, mode="nearest")


def _convolution(network: DetectionNet, name: str) -> nn.Conv2d:
    module = network.get_submodule(name)
    assert isinstance(module, nn.Conv2d)
    return module


def _fitted(conv: nn.Conv2d, inputs: Tensor, outputs: Tensor, face: Tensor | None = None) -> Tensor:
    """Give a convolution the weights that come closest to `outputs` from `inputs`; what it gives then.

    face: (B, h, w) bool, the places where all outputs but the first matter; without any, all matter everywhere.
    """
    side, step = conv.kernel_size[0], conv.stride[0]
    known = F.unfold(inputs, side, padding=side // 2, stride=step).transpose(1, 2).flatten(0, 1)
    wanted = outputs.flatten(2).transpose(1, 2).flatten(0, 1)
    chosen = _drawn(len(known))
    solution = _solved(known[chosen], wanted[chosen])
    if face is not None and face.any():
        there = face.flatten()
        solution[:, 1:] = _solved(known[there], wanted[there][:, 1:])
    conv.weight.copy_(solution[:-1].T.reshape(conv.weight.shape))
    assert conv.bias is not None
    conv.bias.copy_(solution[-1])
    fitted: Tensor = conv(inputs)
    return fitted


def _drawn(count: int) -> Tensor:
    """Indices of at most `PLACES` of `count` places, the same ones for the same count."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:PLACES]


def _solved(known: Tensor, wanted: Tensor) -> Tensor:
    """(P, K), (P, N) -> (K + 1, N) weights and, last, the constant."""
    design = F.pad(known, (0, 1), value=1.0).double()
    normal = design.T @ design
    normal.diagonal().add_(RIDGE * normal.diagonal().mean())
    solution: Tensor = torch.linalg.solve(normal, design.T @ wanted.double()).float()
    return solution


def _gram(values: Tensor, users: Sequence[nn.Conv2d]) -> Tensor:
    """(C, C) products of the channels of (B, C, h, w), each weighted by how much the layers that use it make of it."""
    use = torch.stack([user.weight.square().sum((0, 2, 3)) for user in users]).sum(0).sqrt()
    rows = values.transpose(0, 1).flatten(1).T
    rows = rows[_drawn(len(rows))] * use
    return (rows.T @ rows).double() / len(rows)


def _pivots(gram: Tensor, count: int) -> Tensor:
    """The channels of the largest part that those before them do not explain: Cholesky decomposition with pivots."""
    left, chosen = gram.clone(), []
    for _ in range(count):
        pivot = int(left.diagonal().argmax())
        chosen.append(pivot)
        column = left[:, pivot] / left[pivot, pivot].clamp(min=1e-12).sqrt()
        left = left - torch.outer(column, column)
        left[chosen, chosen] = -1.0
    return torch.tensor(chosen)


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", nargs="+", type=Path)
    parser.add_argument("--network", choices=tuple(SIZES), default="small")
    parser.add_argument(
        "--from", dest="large", type=Path, default=SHIPPED, metavar="FILE", help="weights to prune (default: the shipped ones)"
    )
    parser.add_argument("--to", type=Path, required=True, metavar="FILE")
    parser.add_argument("--scenes", type=int, default=64, help="that the weights are fitted on (default 64)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    pictures = [picture for picture in read(args.labelled) if not held_out(picture.name)]
    scenes = next(batches(SceneMaker(pictures, RunConfig().side, args.seed), args.scenes, range(1), 0))
    large = load_detector(args.large)
    save_detector(pruned(large, SIZES[args.network], scenes.pictures.float()), args.to)


if __name__ == "__main__":
    try:
        main()
    except FerflowError as error:
        sys.exit(str(error))
