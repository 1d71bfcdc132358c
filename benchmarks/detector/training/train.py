"""Train the built-in detector from the pictures that benchmarks/detector/labels.py labelled.

    python -m benchmarks.detector.training.train out/detector/*.parquet --to out/detector/run [--bfloat16] [--processes 1]

Resumes where it stopped. At the end (or at --until) the averaged network lies in the folder as builtin.safetensors. --bfloat16 is quick on
GPUs and on CPUs with matrix units, slow on others. --start goes on from a weights file instead of drawn weights, such as from the shipped
one with new pictures; choose a lower --rate then. --teacher: a trained network is learnt from as well, which helps small networks most.
"""

import argparse
import sys
from pathlib import Path

import cv2
import torch

from benchmarks.detector.training.detector_run import SIZES, DetectorRun, RunConfig
from benchmarks.detector.training.material import held_out, read
from fer_core.detect.builtin.network import fold_batch_norm, interpolate_weights
from fer_core.detect.builtin.weights import load_detector, save_detector
from fer_core.errors import FerflowError


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", nargs="+", type=Path)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=RunConfig().steps)
    parser.add_argument("--until", type=int, help="stop at this step (default: the last)")
    parser.add_argument("--batch", type=int, default=RunConfig().batch)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=RunConfig().rate, help="highest learning rate")
    parser.add_argument("--network", choices=tuple(SIZES), default="large", help="sizes of drawn weights (default large)")
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="weights whose scores, boxes and points are learnt beside the labels")
    parser.add_argument("--start", type=Path, metavar="FILE", help="weights to learn on from")
    parser.add_argument("--mix", type=float, default=1.0, metavar="SHARE", help="of what was learnt in the file; the rest is --start's")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, default=1, help="that compose scenes")
    args = parser.parse_args()
    if args.start is None and args.mix != 1:
        parser.error("--mix needs --start")
    cv2.setNumThreads(1)
    pictures = [picture for picture in read(args.labelled) if not held_out(picture.name)]
    config = RunConfig(
        steps=args.steps, batch=args.batch, rate=args.rate, seed=args.seed, bfloat16=args.bfloat16, network=SIZES[args.network]
    )
    run = DetectorRun(config, pictures, torch.device(args.device), args.to, args.start, teacher=args.teacher)
    run.learn(args.until or args.steps, args.processes, lambda line: print(line, flush=True))
    learnt = fold_batch_norm(run.averaged())
    save_detector(
        learnt if args.start is None else interpolate_weights(load_detector(args.start), learnt, args.mix), args.to / "builtin.safetensors"
    )


if __name__ == "__main__":
    try:
        main()
    except FerflowError as error:
        sys.exit(str(error))
