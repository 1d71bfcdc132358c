"""Faces a second of `ferflow relabel`, beside decoding the kept crops and the network alone on the same cores.

    python -m benchmarks.throughput.relabel_rate --to FIGURES [--faces 6000] [--rounds 2]

Composed pictures of fifty faces are labelled once with `--keep-crops` (not measured); the whole command then labels the crops anew with
another model of the same size, rounds in turn with the limit: the same PNG files decoded and passed through the same predictor in batches
of 256, one process a core. The command's rate counts from the first shard to the commit.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from benchmarks.common.pictures import composed
from benchmarks.common.record import machine, write_record
from benchmarks.throughput.all_cores import Work, rate
from fer_core.models.store import load_model, resolve_model, save_model
from fer_core.predict.predictor import load_predictor

A_PICTURE = 50
BATCH = 256


def main() -> None:
    """Measure in turns and write relabel_rate.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    args = parser.parse_args()
    about, rounds = machine(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pictures = composed(place / "pictures", max(1, round(args.faces / A_PICTURE)), A_PICTURE)
        root = str(place / "labels")
        _ferflow("label", str(pictures), "--to", root, "--keep-crops", "--detector", "builtin", "--workers", str(args.workers))
        crops = pq.read_table(place / "labels" / "faces", columns=["crop_png"])["crop_png"].to_pylist()
        batches = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        for number in range(args.rounds):
            other = other_model(place / f"other-{number}", 1.5 + number)
            said = _ferflow("relabel", root, "--model", str(other), "--workers", str(args.workers))
            ours = said["faces"] / (said["seconds"] - said["startup_seconds"])
            alone = rate(decoded_and_predicted, batches, args.workers) * len(crops) / len(batches)
            kept = {name: said[name] for name in ("faces", "seconds", "startup_seconds", "stage_seconds")}
            rounds.append({"job": kept, "faces_per_second": ours, "alone_faces_per_second": alone, "share": ours / alone})
            write_record(args.to, "relabel_rate", {"faces": len(crops), "workers": args.workers, "rounds": rounds}, about)


def other_model(folder: Path, times: float) -> Path:
    """The default model with another temperature, which is another model and as fast."""
    network, spec = load_model(resolve_model("tiny"))
    return save_model(folder, network.state_dict(), replace(spec, temperature=times * spec.temperature), {"name": folder.name}).path


def decoded_and_predicted() -> Work:
    """PNG files of crops -> the predictor's answers."""
    predictor = load_predictor("tiny", "cpu")

    def work(batch: list[bytes]) -> object:
        crops = [np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), np.uint8) for png in batch]
        return predictor.predict(np.ascontiguousarray(np.stack(crops)[..., ::-1]))

    return work


def _ferflow(*words: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-P", "-m", "flows.cli.main", *words, "--json"], check=True, stdout=subprocess.PIPE, text=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


if __name__ == "__main__":
    main()
