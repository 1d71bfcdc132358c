"""`ferflow train`: face sets -> a model."""

import argparse
import os
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.errors import TrainingError, UsageError
from fer_core.json_reader import parse_json
from fer_core.storage.bounded_file import read_bounded
from flows.cli.option_types import typed_output, typed_path
from flows.output import print_result

if TYPE_CHECKING:
    from fer_core.models.card import ModelRef
    from fer_core.training.config import TrainConfig

MOST_BYTES = 2**20
RECIPES = files("fer_core") / "recipes"
RAW = argparse.RawDescriptionHelpFormatter
HELP = """Trains the multiscale network with the center cosine loss and writes MODELS/<name>: weights, card, curves, a log for TensorBoard.
A tenth of the first face set's training faces is held back for selection, temperature and review limits; other splits are never read.
The same command with --resume continues an interrupted training after the last complete epoch and ends with the same weights.

  ferflow train faceset --to models                                          the default recipe
  ferflow train faceset --to models --config base --device cuda              the large network, on a GPU
  ferflow train faceset corrections --to models --teacher tiny --start tiny  start from a model, with more faces
  ferflow train corrections --to models --start tiny --tune head             fit class centers to a hundred faces, in seconds
  torchrun --nproc-per-node 4 -m flows.cli.main train faceset --to models         on several GPUs"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser("train", help="train a model on face sets", description=HELP, formatter_class=RAW)
    parser.add_argument(
        "facesets", metavar="FACESET", nargs="+", type=typed_path, help="from `ferflow dataset import`; the first one is for selection"
    )
    parser.add_argument("--to", metavar="MODELS", type=typed_output, required=True, help="folder of models")
    recipes = ", ".join(recipe_names())
    parser.add_argument("--config", metavar="FILE", help=f"JSON with fields of TrainConfig, or a recipe of ferflow: {recipes}")
    parser.add_argument("--name", help="name of the model (default: the configuration's, else tiny)")
    teacher = "teacher for distillation: a model, or a table of another model's answers; may be given several times"
    parser.add_argument("--teacher", metavar="NAME|DIR|FILE.parquet", action="append", default=[], help=teacher)
    parser.add_argument("--start", metavar="NAME|DIR", help="model to start from, of the same network; its head may differ")
    tune = "with --start, what learns: the whole network, or class centers and bias alone, for one collection (default: all)"
    parser.add_argument("--tune", choices=("all", "head"), default="all", help=tune)
    parser.add_argument("--epochs", metavar="N", type=int, help="passes over the training faces")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--seed", metavar="N", type=int, help="makes the run repeatable on one device (default: 0)")
    parser.add_argument("--resume", action="store_true", help="continue an interrupted run")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def recipe_names() -> list[str]:
    """Configurations that come with ferflow."""
    return sorted(entry.name.removesuffix(".json") for entry in RECIPES.iterdir() if entry.name.endswith(".json"))


def run(args: argparse.Namespace) -> int:
    """Train, then print the folder of the model."""
    from fer_core.faceset import read_card
    from fer_core.models.store import resolve_model
    from fer_core.training.teacher import SUFFIX, AnswerTable

    for faceset in args.facesets:
        read_card(faceset)
    teachers = tuple(AnswerTable.of(Path(one).expanduser()) if one.endswith(SUFFIX) else resolve_model(one) for one in args.teacher)
    start = None if args.start is None else resolve_model(args.start)
    if args.tune == "head":
        return _tune(args, start)
    import torch

    from fer_core.training.train import Sources, TrainingCallbacks, train
    from flows.cli.training_progress import EpochDisplay

    if "OMP_NUM_THREADS" not in os.environ:  # torchrun and benchmarks set it for each of their processes
        torch.set_num_threads(os.cpu_count() or 1)
    config, sources = _config(args), Sources(tuple(args.facesets), teachers, start)
    first = os.environ.get("RANK", "0") == "0"
    with EpochDisplay(config.epochs, shown=first) as display:
        ref = train(sources, args.to, config, args.device, args.resume, TrainingCallbacks(display.epoch, display.step))
    development = ref.card["development"]
    lines = [
        str(ref.path),
        f"accuracy on {development['faces']} held-back faces ({development['protocol']}): {development['accuracy']:.2%}",
    ]
    if first:
        print_result(args.json, {"model": str(ref.path), "name": ref.name, "digest": ref.digest, "development": development}, lines)
    return 0


def _tune(args: argparse.Namespace, start: "ModelRef | None") -> int:
    """Refit the head of the start, then say where the model is and what it gained."""
    if start is None:
        raise UsageError("--tune head needs the model to start from: --start NAME|DIR")
    for option in ("config", "teacher", "epochs", "resume", "seed"):
        if getattr(args, option) not in (None, False, []):
            raise UsageError(f"--tune head does not take --{option}: it fits class centers without epochs")
    from fer_core.training.head_tuning import tune_head

    tuned = tune_head(start, tuple(args.facesets), args.to, args.name)
    told, development = tuned.model.card["tuned"], tuned.model.card["development"]
    lines = [
        str(tuned.model.path),
        f"tuned on {told['faces']:,} faces of {told['groups']:,} groups; cross-validated, whole groups held out:",
        *(f"  {name.replace('_', ' ')} {one['start']:.4f} -> {one['tuned']:.4f}" for name, one in told["gain"].items()),
        *(f"  a retraining would not promote it: {reason}" for reason in tuned.verdict.reasons),
    ]
    if told["reference"] is not None:
        cost = told["reference"]["balanced_accuracy"]
        lines.append(f"balanced accuracy on {told['reference']['name']}: {cost['start']:.4f} -> {cost['tuned']:.4f}")
    ref, passed = tuned.model, tuned.verdict.passed
    found = {"model": str(ref.path), "name": ref.name, "digest": ref.digest, "development": development, "tuned": told, "passed": passed}
    print_result(args.json, found, lines)
    return 0


def _config(args: argparse.Namespace) -> "TrainConfig":
    """Defaults, then the file or recipe, then the options."""
    from fer_core.training.config import TrainConfig

    value = {} if args.config is None else _written(args.config)
    chosen = {name: getattr(args, name) for name in ("name", "epochs", "seed") if getattr(args, name) is not None}
    return replace(TrainConfig.from_json(value), **chosen)


def _written(config: str) -> dict[str, object]:
    """The JSON object of a file or, where there is none of that name, of a recipe."""
    file = typed_path(config)
    known = config in recipe_names() and not file.is_file()
    try:
        text = (RECIPES / f"{config}.json").read_bytes() if known else read_bounded(file, MOST_BYTES)
        value = parse_json(text, MOST_BYTES)
    except OSError as error:
        known_names = ", ".join(recipe_names())
        raise TrainingError(
            f"no such training configuration: {config} is neither a file that can be read nor one of {known_names}"
        ) from error
    except ValueError as error:
        raise TrainingError(f"the training configuration {config} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise TrainingError(f"the training configuration is not a JSON object: {config}")
    return value
