"""`ferflow evaluate`: score a model on a face set."""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fer_core.models.store import DEFAULT
from flows.cli.answer_options import add_prior, read_prior
from flows.cli.option_types import typed_output, typed_path
from flows.cli.slice_table import slice_lines
from flows.output import print_result

if TYPE_CHECKING:
    from fer_core.evaluation.evaluate import Evaluation
    from fer_core.models.store import ModelRef

RAW = argparse.RawDescriptionHelpFormatter
HELP = """Scores a model on one split of a face set.

  majority  FER+: single votes count as none; a face stays if over half of the rest agree on one of the eight expressions
  argmax    the expression with most votes, ties to the first in the order of the columns; faces without such a vote are dropped
Sets with one label a face accept both. On a set of fewer expressions the model's others are masked out.
Figures come with 95 % bootstrap intervals over the faces. Several face sets make one table. With --slices the faces are also scored by
sharpness and colour of their crops; a face set holds neither size nor pose (`ferflow review agreement` has them for a labels root)."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser("evaluate", help="score a model on a face set", description=HELP, formatter_class=RAW)
    parser.add_argument("facesets", metavar="FACESET", type=typed_path, nargs="+", help="made by `ferflow dataset import`")
    parser.add_argument("--split", default="test", help="train, valid or test (default: test)")
    parser.add_argument("--protocol", choices=("majority", "argmax"), default="majority")
    parser.add_argument("--model", metavar="NAME|DIR", default=DEFAULT, help=f"shipped name or model folder (default: {DEFAULT})")
    add_prior(parser)
    parser.add_argument("--only", metavar="FILE", type=typed_path, help="score only the sample ids in this file, one a line")
    parser.add_argument("--slices", action="store_true", help="also score by sharpness of the crop, and grey or coloured")
    pictures = "confusion.png, reliability.png and risk_coverage.png"
    parser.add_argument(
        "--plots", metavar="FOLDER", type=typed_output, help=f"write {pictures} to this folder; of several sets, to one each"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Score, draw where asked to, then print the figures."""
    from fer_core.evaluation.evaluate import report_json
    from fer_core.models.store import resolve_model
    from fer_core.predict.answer_rule import usual_prior_of

    prior = read_prior(args.prior)
    ref = resolve_model(args.model)
    names = _names(args.facesets)
    folders = _folders(args.plots, names)
    found = {name: _scored(faceset, prior, args) for name, faceset in zip(names, args.facesets, strict=True)}
    used = prior or usual_prior_of(ref)
    reports: dict[str, dict[str, object]] = {}
    for name, figures in found.items():
        reports[name] = report_json(figures, args.protocol, args.split, ref.name, ref.digest, prior=used)
        if args.plots is not None:
            reports[name]["plots"] = _drawn(figures, ref, args, folders[name], used)
    title = f"{ref.name} {ref.digest[:12]} on {args.split}, {args.protocol} protocol, prior {used}"
    if len(found) == 1:
        (name,) = found
        print_result(args.json, reports[name], _lines(title, found[name], args) + _slices(found) + _paths(reports))
    else:
        print_result(args.json, {"sets": reports}, _table(title, found) + _slices(found) + _paths(reports))
    return 0


def _names(facesets: Sequence[Path]) -> list[str]:
    """Of the face sets, each its own: the folder's name, with a number where another one has it."""
    names = list[str]()
    for faceset in facesets:
        name = base = faceset.resolve().name or "set"
        number = 1
        while name in names:
            number += 1
            name = f"{base}-{number}"
        names.append(name)
    return names


def _folders(plots: Path | None, names: Sequence[str]) -> dict[str, Path]:
    """Where each set's pictures go; made before the work."""
    if plots is None:
        return {}
    from fer_core.evaluation.plots import make_folder

    folders = {name: plots if len(names) == 1 else plots / name for name in names}
    for folder in (plots, *folders.values()):
        make_folder(folder)
    return folders


def _scored(faceset: Path, prior: str | None, args: argparse.Namespace) -> "Evaluation":
    from fer_core.evaluation.evaluate import evaluate
    from flows.cli.stage_progress import StageProgress

    with StageProgress() as progress:
        progress("reading the face set")
        return evaluate(faceset, args.model, args.split, args.protocol, args.only, partial(progress, "scored faces"), prior, args.slices)


def _lines(title: str, figures: "Evaluation", args: argparse.Namespace) -> list[str]:
    lines = [f"{title}: {figures.n} faces", *_figures(figures), "", f"{'':>10}  precision  recall     F1  faces"]
    for name, row in figures.per_class.items():
        lines.append(f"{name:>10}  {row['precision']:9.1%} {row['recall']:7.1%} {row['f1']:6.3f} {row['support']:6d}")
    if args.only is not None:
        lines.append(f"{figures.absent_ids} listed ids are not in this split")
    return lines


def _figures(figures: "Evaluation") -> list[str]:
    """One figure a line, each with its interval."""
    shown = (
        ("accuracy", "accuracy", ".2%"),
        ("balanced", "balanced_accuracy", ".2%"),
        ("macro F1", "macro_f1", ".3f"),
        ("ECE", "ece", ".3f"),
        ("AURC", "aurc", ".3f"),
    )
    lines = []
    for label, name, form in shown:
        low, high = figures.intervals[name]
        lines.append(f"{label:>10}  {getattr(figures, name):{form}}  ({low:{form}} to {high:{form}})")
    return lines


def _table(title: str, found: dict[str, "Evaluation"]) -> list[str]:
    """One set a row, each figure with its interval."""
    width = max(len(name) for name in found)
    lines = [title, "", f"{'':{width}}  faces  {'accuracy':>23}  {'balanced':>23}  {'macro F1':>20}  {'ECE':>20}  {'AURC':>20}"]
    for name, figures in found.items():
        cells = []
        for figure, form, space in (
            ("accuracy", ".1%", 23),
            ("balanced_accuracy", ".1%", 23),
            ("macro_f1", ".3f", 20),
            ("ece", ".3f", 20),
            ("aurc", ".3f", 20),
        ):
            low, high = figures.intervals[figure]
            cells.append(f"{f'{getattr(figures, figure):{form}} ({low:{form}}-{high:{form}})':>{space}}")
        lines.append(f"{name:{width}}  {figures.n:5d}  {'  '.join(cells)}")
    return lines


def _slices(found: dict[str, "Evaluation"]) -> list[str]:
    """One table a set, where slices were asked for."""
    lines = list[str]()
    for name, figures in found.items():
        if figures.slices:
            lines += ["", *([name] if len(found) > 1 else []), *slice_lines(figures.slices)]
    return lines


def _paths(reports: dict[str, dict[str, object]]) -> list[str]:
    """Of the pictures, after an empty line."""
    paths = [str(path) for report in reports.values() if isinstance(plots := report.get("plots"), dict) for path in plots.values()]
    return ["", *paths] if paths else []


def _drawn(figures: "Evaluation", ref: "ModelRef", args: argparse.Namespace, folder: Path, used: str) -> dict[str, str]:
    """Paths of the pictures by what they show."""
    from fer_core.evaluation.plots import Scored, confusion_png, reliability_png, risk_coverage_png

    scored = Scored(ref.name, ref.digest, args.split, args.protocol, used)
    drawn = {"confusion": confusion_png, "reliability": reliability_png, "risk_coverage": risk_coverage_png}
    for name, draw in drawn.items():
        draw(figures, scored, folder / f"{name}.png")
    return {name: str(folder / f"{name}.png") for name in drawn}
