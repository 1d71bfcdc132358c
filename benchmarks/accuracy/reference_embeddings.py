"""Writes the reference faces of a model: embeddings of validation faces, by which `--tune head` tells what a tuned model costs elsewhere.

    python -m benchmarks.accuracy.reference_embeddings FERPLUS --model MODEL --faces 700

FERPLUS: the face set made of FER+ (docs/explanation/method.md). Of its split `valid`, the faces of the majority protocol, as many as
asked for, evenly spread over the split. MODEL/reference.safetensors holds embeddings of the faces as they are, and the raters' shares, in
half precision; it depends on the network and not on the head, so that it stays with a model whose head or calibration changes.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from fer_core.evaluation.evaluate import majority_classes
from fer_core.faceset import read_split, vote_targets
from fer_core.models.reference_faces import REFERENCE, ReferenceFaces, write_reference
from fer_core.models.store import load_model, read_weights, resolve_model


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ferplus", type=Path)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--faces", type=int, default=700)
    args = parser.parse_args()
    ref = resolve_model(args.model)
    network, _ = load_model(ref)
    split = read_split(args.ferplus, "valid", luma=True)
    _, kept = majority_classes(split.votes, split.kind)
    some = kept[np.linspace(0, len(kept) - 1, min(args.faces, len(kept))).astype(np.intp)]
    with torch.inference_mode():
        crops = torch.from_numpy(split.crops[some]).float().unsqueeze(1)
        embeddings = torch.cat([network(part) for part in crops.split(100)]).numpy()
    shares, _ = vote_targets(split.votes[some], split.kind)
    write_reference(ref.path, ReferenceFaces("FER+ validation", embeddings, shares), read_weights(ref)[0])
    print(json.dumps({"file": str(ref.path / REFERENCE), "faces": len(some), "bytes": (ref.path / REFERENCE).stat().st_size}))


if __name__ == "__main__":
    main()
