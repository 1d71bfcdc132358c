"""`ferflow review agreement`: how far reviewers agree, and how right the labels are by their reviews."""

import argparse
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from flows.cli.slice_table import slice_lines
from flows.output import print_result

if TYPE_CHECKING:
    from fer_core.evaluation.agreement import Agreement
    from fer_core.monitoring.review_quality import ReviewQuality

RAW = argparse.RawDescriptionHelpFormatter
HELP = """Measures how far the reviewers of a labels root agree beyond chance (1: always, 0: as by chance), over the faces that
several of them answered: Cohen's kappa of each two, Krippendorff's alpha of all; `cannot tell` counts as no answer. Then the accuracy of
the current labels against the last verdict of each face, by face size, sharpness and turn. Intervals are of 95 %.

  ferflow review agreement ~/labels

Two people answer the same faces when both get the same review.html and both files are imported. Faces that `ferflow review export` chose
are the doubtful ones: the accuracy is that of all labels only with --policy random."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the action."""
    parser = subparsers.add_parser("agreement", help="measure how far reviewers and labels agree", description=HELP, formatter_class=RAW)
    parser.add_argument("root", metavar="ROOT", help="labels root")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the reviews, then print the figures."""
    from fer_core.monitoring.review_quality import review_quality
    from fer_core.storage.store import open_store
    from flows.cli.stage_progress import StageProgress

    with StageProgress() as progress:
        progress("reading labels and reviews")
        found = review_quality(open_store(args.root))
    print_result(args.json, _json(found), _lines(found))
    return 0


def _json(found: "ReviewQuality") -> dict[str, Any]:
    labels = found.labels
    return {
        "reviewers": found.reviewers,
        "alpha": _numbers(found.alpha),
        "kappas": [{"reviewers": list(pair), **_numbers(kappa)} for pair, kappa in found.kappas.items()],
        "labels": labels and {name: getattr(labels, name) for name in ("n", "accuracy", "balanced_accuracy", "ece", "intervals")},
        "slices": [asdict(part) for part in found.slices],
    }


def _numbers(agreement: "Agreement") -> dict[str, float | None]:
    """What is not a number is null."""
    return {name: None if math.isnan(value) else value for name, value in asdict(agreement).items()}


def _lines(found: "ReviewQuality") -> list[str]:
    lines = [f"{faces:7,} faces by {name or '(no name)'}" for name, faces in found.reviewers.items()] or ["there is no review yet"]
    if found.alpha.units:
        lines += ["", f"alpha  {_text(found.alpha)}"]
        lines += [f"kappa  {_text(kappa)}  {' and '.join(pair)}" for pair, kappa in found.kappas.items()]
    else:
        lines += ["no face was answered by two reviewers: there is no agreement to measure"]
    if found.labels is not None:
        figures = found.labels
        low, high = figures.intervals["accuracy"]
        lines += ["", f"labels against reviews: {figures.n} faces, accuracy {figures.accuracy:.1%} ({low:.1%} to {high:.1%})", ""]
        lines += slice_lines(found.slices)
    return lines


def _text(agreement: "Agreement") -> str:
    figure = "not defined: one answer throughout" if math.isnan(agreement.value) else f"{agreement.value:.3f}"
    interval = "" if math.isnan(agreement.low) else f" ({agreement.low:.3f} to {agreement.high:.3f})"
    return f"{figure}{interval}, {agreement.observed:.1%} of the answers alike, {agreement.units} faces"
