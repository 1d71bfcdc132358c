"""`ferflow train`: a face set -> a model."""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.errors import TrainingError
from flows.answer import answer

if TYPE_CHECKING:
    from fer_core.train import EpochReport, TrainConfig

RAW = argparse.RawDescriptionHelpFormatter
HELP = """Trains the multiscale network with the center cosine loss on a face set and writes MODELS/<name> (weights and card).
A tenth of the training faces is held back for selection, temperature and review threshold; other splits are never looked at.
After an interruption the same command with --resume goes on after the last whole epoch and ends with the same weights."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser("train", help="train a model on a face set", description=HELP, formatter_class=RAW)
    parser.add_argument("faceset", metavar="FACESET", type=Path, help="made by `ferflow dataset import`")
    parser.add_argument("--to", metavar="MODELS", type=Path, required=True, help="folder of models")
    parser.add_argument("--config", metavar="FILE", type=Path, help="JSON with fields of TrainConfig; what it leaves out has its default")
    parser.add_argument("--name", help="name of the model (default: tiny)")
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the training faces")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", metavar="N", type=int, help="makes the run repeatable on one device (default: 0)")
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run stopped")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, then say where the model is."""
    from fer_core.faceset import read_card  # noqa: PLC0415  (torch is not needed to say that a set is missing)

    read_card(args.faceset)
    import torch  # noqa: PLC0415

    from fer_core.train import train  # noqa: PLC0415

    torch.set_num_threads(os.cpu_count() or 1)
    ref = train(args.faceset, args.to, _config(args), args.device, args.resume, _tell)
    development = ref.card["development"]
    text = f"{ref.path}\naccuracy on {development['faces']} held-back faces ({development['protocol']}): {development['accuracy']:.2%}"
    answer(args.json, {"model": str(ref.path), "name": ref.name, "digest": ref.digest, "development": development}, text)
    return 0


def _config(args: argparse.Namespace) -> "TrainConfig":
    """Defaults, then the file, then the options."""
    from fer_core.train import TrainConfig  # noqa: PLC0415

    value = {}
    if args.config is not None:
        try:
            value = json.loads(args.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"cannot read the training configuration {args.config}: {error}") from error
        if not isinstance(value, dict):
            raise TrainingError(f"the training configuration is not a JSON object: {args.config}")
    chosen = {name: getattr(args, name) for name in ("name", "epochs", "seed") if getattr(args, name) is not None}
    config = replace(TrainConfig.from_json(value), **chosen)
    if config.epochs < 1:
        raise TrainingError("a training run has at least one epoch")
    return config


def _tell(report: "EpochReport") -> None:
    """A line an epoch, on stderr."""
    done = f"epoch {report.epoch:3d}/{report.epochs}"
    sys.stderr.write(f"{done}  loss {report.loss:.4f}  held-back accuracy {report.dev_accuracy:.2%}  {report.seconds:.0f} s\n")
    sys.stderr.flush()
