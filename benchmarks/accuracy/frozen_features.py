"""What a model's network says before its embedding, of face sets as they are, augmented and spoilt: to try heads in seconds.

    python -m benchmarks.accuracy.frozen_features --model tiny --to FOLDER --set NAME=FACESET:SPLIT[:KINDS[:FACES]] ...

SPLIT may be `held-back`, the tenth of `train` that judges a training. KINDS, joined by commas: `plain` (and mirrored), `unmirrored` (plain
alone), `augmentN` (N augmented passes, as in training, seeds 0 to N - 1), `corrupt` (the 25 spoilt sets of `evaluation.corruption`, and
mirrored). FACES: an even sample of so many. Each becomes FOLDER/NAME-KIND.npz: `features` (N, F) float16 and `index`, the faces' places in
the split. What is there already is not made again.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fer_core.evaluation.corruption import CORRUPTIONS, corrupt
from fer_core.faceset import FaceSplit, carve_dev, read_split
from fer_core.models.network_config import WINDOW_LEFT, WINDOW_SIZE, WINDOW_TOP
from fer_core.models.onnx_builder import Session
from fer_core.models.store import read_weights, resolve_model
from fer_core.predict import onnx_backend
from fer_core.training.augment import AugmentConfig, augment

BATCH = 32
AUGMENT = AugmentConfig(zoom=0.18, shift=0.07)
"""As the recipe of `tiny` has it."""


def session_of(model: str) -> Session:
    """(N, 1, 96, 96) `window` -> (N, F)."""
    tensors, spec = read_weights(resolve_model(model))
    graph = onnx_backend._Network(spec.network, tensors)
    told = graph.node("Concat", graph.scales(graph.standardised()), {"axis": 1})
    return Session(graph.model(["faces", 1, WINDOW_SIZE, WINDOW_SIZE], [told]))


def features_of(session: Session, crops: NDArray[np.uint8], seed: int | None = None) -> NDArray[np.float16]:
    """(N, 112, 112) luma -> (N, F) what enters `MultiscaleNet.fuse`. seed: of an augmentation, which is not rounded to grey levels."""
    drawn = torch.Generator().manual_seed(0 if seed is None else seed)
    top, left = slice(WINDOW_TOP, WINDOW_TOP + WINDOW_SIZE), slice(WINDOW_LEFT, WINDOW_LEFT + WINDOW_SIZE)
    found = []
    for start in range(0, len(crops), BATCH):
        faces = crops[start : start + BATCH, None].astype(np.float32)
        if seed is not None:
            faces = augment(torch.from_numpy(faces), AUGMENT, drawn).numpy()
        found.append(session(np.ascontiguousarray(faces[:, :, top, left]))[0].astype(np.float16))
    return np.concatenate(found)


def wanted(split: FaceSplit, kinds: list[str]) -> Iterator[tuple[str, NDArray[np.uint8], int | None]]:
    """(kind, faces, seed of an augmentation)."""
    mirror = slice(None, None, -1)
    for kind in kinds:
        if kind == "unmirrored":
            yield "plain", split.crops, None
        elif kind == "plain":
            yield "plain", split.crops, None
            yield "mirrored", np.ascontiguousarray(split.crops[:, :, mirror]), None
        elif kind.startswith("augment"):
            yield from ((f"augmented-{seed}", split.crops, seed) for seed in range(int(kind.removeprefix("augment"))))
        elif kind == "corrupt":
            for name in CORRUPTIONS:
                for strength in range(1, 6):
                    spoilt = corrupt(split.crops, name, strength, 0, split.ids)
                    yield f"{name}-{strength}", spoilt, None
                    yield f"{name}-{strength}-mirrored", np.ascontiguousarray(spoilt[:, :, mirror]), None
        else:
            sys.exit(f"no such kind: {kind}")


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--set", action="append", required=True)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    session = session_of(args.model)
    args.to.mkdir(parents=True, exist_ok=True)
    for given in args.set:
        name, _, rest = given.partition("=")
        folder, split_name, kinds, count = [*rest.split(":"), "plain", ""][:4] if rest.count(":") == 1 else [*rest.split(":"), ""][:4]
        split = read_split(Path(folder), "train" if split_name == "held-back" else split_name, luma=True)
        index = np.arange(len(split))
        if split_name == "held-back":
            chosen = set(carve_dev(split, 0.1)[1].ids)
            index = np.array([i for i, sample in enumerate(split.ids) if sample in chosen])
        index = index[(np.arange(int(count)) * len(index)) // int(count)] if count else index
        split = split.take(index)
        for kind, crops, seed in wanted(split, kinds.split(",")):
            file = args.to / f"{name}-{kind}.npz"
            if not file.is_file():
                partial = file.with_suffix(".partial.npz")
                np.savez(partial, features=features_of(session, crops, seed), index=index)
                partial.replace(file)
                print(file.name, len(index), flush=True)


if __name__ == "__main__":
    main()
