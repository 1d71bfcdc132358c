"""`ferflow review`: exports the faces that most need review, imports the corrections, and says how far reviewers agree."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from flows.cli import review_agreement
from flows.cli.option_types import positive, typed_path
from flows.output import print_result, print_unregistered

if TYPE_CHECKING:
    from fer_core.review.export import ReviewExport
    from fer_core.review.incoming import ReviewImport

RAW = argparse.RawDescriptionHelpFormatter
SHOWN_ORPHANS = 10
EXPORT = """Selects the faces that most need review: low confidence, models that disagree, rare expressions, groups
of faces whose confidence has dropped. Writes one HTML page that works offline (1-8 name an expression, 9 not a face, 0 cannot tell,
s saves), and the same faces as tasks for Label Studio with its labelling configuration.

  ferflow review export ~/labels --to ~/review --budget 100
  ferflow review export ~/labels --to ~/review --policy tuning --budget 200     faces to tune a model by (ferflow retrain --tune head)
  ferflow review import ~/Downloads/corrections-ID.json --to ~/labels --reviewer Anna
  ferflow dataset import reviewed ~/labels --to faceset

Reviewed faces are not exported again. The files contain faces: protect them like the photographs."""
IMPORT = """Imports a corrections file that the page saved, or Label Studio's export (JSON). Everything is checked before anything is
written; the same file twice changes nothing. Reviews are kept under ROOT/_meta/reviews and are matched with faces by image and
box, also after a change of the detector; those without a match are listed as orphans.

  ferflow review import corrections.json --to ~/labels --reviewer Anna"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    group = subparsers.add_parser("review", help="export faces for review, import reviews, and measure agreement")
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    parser = inner.add_parser("export", help="write a page with the faces to review", description=EXPORT, formatter_class=RAW)
    parser.add_argument("root", metavar="ROOT", help="labels root")
    parser.add_argument("--to", metavar="FOLDER|URL", required=True, help="where to write; must be new, empty or an earlier export")
    parser.add_argument("--budget", metavar="N", type=positive, default=100, help="most faces to export (default: 100)")
    policy = "how faces are chosen: those that most need review, a spread to tune a model by, or at random (default: worth)"
    parser.add_argument("--policy", choices=("worth", "tuning", "random"), default="worth", help=policy)
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the random policy (default: 0)")
    parser.add_argument("--model", metavar="NAME|DIR|DIGEST", help="only labels of this model (default: of every model)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run_export)
    parser = inner.add_parser("import", help="import reviews", description=IMPORT, formatter_class=RAW)
    parser.add_argument("file", metavar="FILE", type=typed_path, help="corrections file, or Label Studio's export as JSON")
    parser.add_argument("--to", metavar="ROOT", required=True, help="labels root")
    parser.add_argument("--reviewer", metavar="NAME", help="name of the reviewer, instead of the one in the file")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run_import)
    review_agreement.add_parser(inner)


def run_export(args: argparse.Namespace) -> int:
    """Write page and tasks."""
    from dataclasses import asdict

    from fer_core.review.export import ExportRequest, export_review, tuning_note
    from fer_core.storage.store import open_store
    from flows.cli.stage_progress import StageProgress

    model = None if args.model is None else _model_digest(args.model)
    asked = ExportRequest(args.budget, args.policy, args.seed, model)
    with StageProgress() as progress:
        progress("reading labels and reviews")
        found = export_review(open_store(args.root), open_store(args.to), asked, on_read=partial(progress, "read photographs"))
    lines = _exported(found)
    lines += [tuning_note(found.reviewed)] if args.policy == "tuning" else []
    if found.files:
        print_unregistered(open_store(args.root), args.to)
    print_result(args.json, asdict(found), lines)
    return 0


def _model_digest(given: str) -> str:
    """Digest of a model, or its first digits."""
    if len(given) >= 6 and set(given) <= set("0123456789abcdef"):
        return given
    from fer_core.models.store import resolve_model

    return resolve_model(given).digest


def _exported(found: "ReviewExport") -> list[str]:
    gone = f"{found.gone:,} faces were skipped: neither the photographs nor crops of the faces exist any more"
    if not found.asked:
        lines = [f"nothing to export: {found.faces:,} faces are open, {found.reviewed:,} were reviewed before"]
        return [*lines, gone] if found.gone else lines
    lines = [f"wrote {found.files[0]}: {found.asked:,} of {found.faces:,} faces; {found.reviewed:,} were reviewed before"]
    lines += [f"{count:6,}  {reason}" for reason, count in found.reasons.items()]
    lines += [gone] if found.gone else []
    lines += [f"open the page in a browser, or import {found.files[1]} into Label Studio with {found.files[2]}"]
    return lines


def run_import(args: argparse.Namespace) -> int:
    """Check and store the reviews, then print a summary."""
    from dataclasses import asdict

    from fer_core.errors import UsageError
    from fer_core.review.incoming import import_reviews
    from fer_core.storage.store import open_store
    from flows.cli.stage_progress import StageProgress

    if args.reviewer is not None and not args.reviewer.strip():
        raise UsageError("--reviewer is empty")
    with StageProgress() as progress:
        progress("matching reviews with the current labels")
        found = import_reviews(open_store(args.to), args.file, args.reviewer and args.reviewer.strip())
    print_result(args.json, asdict(found), _imported(found))
    return 0


def _imported(found: "ReviewImport") -> list[str]:
    news = "this file was imported before, nothing was written" if found.already_imported else f"{found.new:,} new"
    lines = [f"{found.reviews:,} reviews ({news}): {found.changed:,} differ from the label, {found.attached:,} have their face"]
    if found.orphans:
        lines.append(f"{len(found.orphans):,} orphans:")
        lines += [f"  {row.verdict} at {_place(row.box)} of {row.image_uri}: {row.reason}" for row in found.orphans[:SHOWN_ORPHANS]]
        rest = len(found.orphans) - SHOWN_ORPHANS
        lines += [f"  and {rest:,} more (--json lists all)"] if rest > 0 else []
    return lines


def _place(box: tuple[float, float, float, float]) -> str:
    x, y, width, height = (round(value) for value in box)
    return f"{x}, {y} ({width} x {height})"
