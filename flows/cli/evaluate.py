"""`ferflow evaluate`: score a model on a face set."""

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.models.store import DEFAULT
from flows.output import print_result

if TYPE_CHECKING:
    from fer_core.evaluation.evaluate import Evaluation
    from fer_core.models.store import ModelRef

RAW = argparse.RawDescriptionHelpFormatter
HELP = """Scores a model on one split of a face set.

  majority  FER+: single votes count as none; a face stays if over half of the rest agree on one of the eight expressions
  argmax    the expression with most votes, ties to the first one; faces without such a vote are dropped
Sets with one label a face accept both. On a set of fewer expressions the model's others are masked out."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser("evaluate", help="score a model on a face set", description=HELP, formatter_class=RAW)
    parser.add_argument("faceset", metavar="FACESET", type=Path, help="made by `ferflow dataset import`")
    parser.add_argument("--split", default="test", help="train, valid or test (default: test)")
    parser.add_argument("--protocol", choices=("majority", "argmax"), default="majority")
    parser.add_argument("--model", metavar="NAME|DIR", default=DEFAULT, help=f"shipped name or model folder (default: {DEFAULT})")
    parser.add_argument("--only", metavar="FILE", type=Path, help="score only the sample ids in this file, one a line")
    parser.add_argument("--plots", metavar="FOLDER", type=Path, help="write confusion.png and reliability.png to this folder")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score, draw plots on request, then print the figures."""
    from fer_core.evaluation.evaluate import evaluate, report_json
    from fer_core.models.store import resolve_model
    from flows.cli.stage_progress import StageProgress

    ref = resolve_model(args.model)
    if args.plots is not None:
        from fer_core.evaluation.plots import make_folder

        make_folder(args.plots)
    with StageProgress() as progress:
        progress("reading the face set")
        on_scored = partial(progress, "scored faces")
        figures = evaluate(args.faceset, args.model, args.split, args.protocol, args.only, on_scored)
    report, lines = report_json(figures, args.protocol, args.split, ref.name, ref.digest), _lines(figures, ref, args)
    if args.plots is not None:
        report["plots"] = _drawn(figures, ref, args)
        lines += ["", *report["plots"].values()]
    print_result(args.json, report, lines)
    return 0


def _lines(figures: "Evaluation", ref: "ModelRef", args: argparse.Namespace) -> list[str]:
    lines = [
        f"{ref.name} {ref.digest[:12]} on {args.split}, {args.protocol} protocol: {figures.n} faces",
        f"accuracy {figures.accuracy:.2%}   balanced {figures.balanced_accuracy:.2%}   "
        f"macro F1 {figures.macro_f1:.3f}   ECE {figures.ece:.3f}",
        "",
        f"{'':>10}  precision  recall     F1  faces",
    ]
    for name, row in figures.per_class.items():
        lines.append(f"{name:>10}  {row['precision']:9.1%} {row['recall']:7.1%} {row['f1']:6.3f} {row['support']:6d}")
    if args.only is not None:
        lines.append(f"{figures.absent_ids} listed ids are not in this split")
    return lines


def _drawn(figures: "Evaluation", ref: "ModelRef", args: argparse.Namespace) -> dict[str, str]:
    """Paths of the plots by their kind."""
    from fer_core.evaluation.plots import Scored, confusion_png, reliability_png

    scored = Scored(ref.name, ref.digest, args.split, args.protocol)
    confusion, reliability = args.plots / "confusion.png", args.plots / "reliability.png"
    confusion_png(figures, scored, confusion)
    reliability_png(figures, scored, reliability)
    return {"confusion": str(confusion), "reliability": str(reliability)}
