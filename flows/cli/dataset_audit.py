"""`ferflow dataset audit` and `ferflow dataset correct`: labels of a face set that are probably wrong, and a set with the corrections."""

import argparse
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from fer_core.errors import UsageError
from fer_core.models.card import DEFAULT
from flows.cli.option_types import positive, typed_output, typed_path
from flows.output import print_line, print_result

if TYPE_CHECKING:
    from fer_core.models.card import ModelRef
    from fer_core.training.label_audit import LabelAudit

RAW = argparse.RawDescriptionHelpFormatter
SPLITS = ("train", "valid", "test")
SHOWN = 10
MOST_FOLDS = 50
MOST_TOP = 5000
AUDIT = """Lists the labels of a face set that are probably wrong, by confident learning (Northcutt et al., JAIR 70, 2021): those that
contradict what a model is confident of. The probabilities have to come from a model that did not learn these labels. Either

  --model M       M's own: valid only where M was not trained on this set; its card is checked for that
  --folds K       K heads (logistic regression) on M's frozen features, each predicts persons or pictures that it did not learn from

--to writes review.html with the faces (the page of `ferflow review`), candidates.csv and audit.json. Save the answers on the page, then:

  ferflow dataset audit faceset --folds 5 --to audit --top 200
  ferflow dataset correct faceset corrections-ID.json --to corrected

The estimated share of wrong labels includes the model's own confident errors. The files contain faces: protect them like the photos."""
CORRECT = """Writes a new face set with the answers that the page of `ferflow dataset audit` saved. `not a face` leaves a face out,
`cannot tell` changes nothing, votes become unanimous ones. The old set stays as it is.

  ferflow dataset correct faceset corrections-ID.json --to corrected"""


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare both."""
    parser = subparsers.add_parser("audit", help="list labels that are probably wrong", description=AUDIT, formatter_class=RAW)
    parser.add_argument("faceset", metavar="FACESET", type=typed_path, help="made by `ferflow dataset import`")
    parser.add_argument("--model", metavar="NAME|DIR", default=DEFAULT, help=f"shipped name or model folder (default: {DEFAULT})")
    parser.add_argument("--folds", metavar="K", type=positive, help=f"cross-validate heads on the model's features; 2 to {MOST_FOLDS}")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the folds (default: 0)")
    parser.add_argument("--split", choices=SPLITS, help="only this split (default: all)")
    parser.add_argument(
        "--protocol", choices=("majority", "argmax"), default="majority", help="label of a face with votes, as for evaluate"
    )
    parser.add_argument(
        "--top", metavar="N", type=positive, default=100, help="most candidates to list, the least probable labels first (default: 100)"
    )
    parser.add_argument(
        "--to", metavar="FOLDER", type=typed_output, help="write page, table and figures; must be new, empty or an earlier audit"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run_audit)
    parser = subparsers.add_parser("correct", help="apply the corrections of an audit", description=CORRECT, formatter_class=RAW)
    parser.add_argument("faceset", metavar="FACESET", type=typed_path, help="the audited face set")
    parser.add_argument("file", metavar="FILE", type=typed_path, help="corrections file that the page saved")
    parser.add_argument("--to", metavar="NEW", type=typed_output, required=True, help="folder to write; must be new or empty")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.set_defaults(run=run_correct)


def run_audit(args: argparse.Namespace) -> int:
    """Audit, write the files where asked to, then print the figures."""
    if args.folds is not None and not 2 <= args.folds <= MOST_FOLDS:
        raise UsageError(f"--folds is a number from 2 to {MOST_FOLDS}: {args.folds}")
    if args.top > MOST_TOP:
        raise UsageError(f"--top is a number of faces from 1 to {MOST_TOP:,}: {args.top}")
    from fer_core.models.store import resolve_model
    from fer_core.training.audit_page import check_target, report_json, write_audit
    from fer_core.training.label_audit import AuditRequest, audit_labels
    from flows.cli.stage_progress import StageProgress

    model = resolve_model(args.model)
    if args.to is not None:
        check_target(args.to)
    asked = AuditRequest((args.split,) if args.split else (), args.protocol, args.folds, args.seed)
    with StageProgress() as progress:
        progress("reading the face set")
        found = audit_labels(args.faceset, model, asked, partial(progress))
        report = report_json(found, model, asked, args.top)
        files = write_audit(args.faceset, found, model, report, args.to) if args.to is not None else ()
    warning = _warning(found, model, args.folds)
    if warning:
        print_line(f"ferflow: {warning}")
    print_result(
        args.json, {**report, **({"files": files} if files else {})}, _lines(found, model, args) + [f"wrote {file}" for file in files]
    )
    return 0


def _warning(found: "LabelAudit", model: "ModelRef", folds: int | None) -> str | None:
    """Where the model has learned labels that it is to check."""
    if not found.trained_on:
        return None
    where = f"{model.name} was trained on the {' and '.join(found.trained_on)} split of this face set"
    if folds is None:
        return f"warning: {where}: it has learned wrong labels, too, and finds fewer (use --folds 5, or a model that did not see them)"
    return f"warning: {where}: its features carry some of these labels, so fewer errors are found than by a model that did not see them"


def _lines(found: "LabelAudit", model: "ModelRef", args: argparse.Namespace) -> list[str]:
    how = f"{args.folds} heads on the features of" if args.folds else "probabilities of"
    lines = [
        f"{found.faces} labels of {', '.join(found.splits)} ({found.digest[:12]}), {how} {model.name} {model.digest[:12]}",
        f"{'repeated':>10}  {found.agreement:.1%}  ({found.agreement_interval[0]:.1%} to {found.agreement_interval[1]:.1%})",
        f"{'wrong':>10}  {found.error_share:.1%}  ({found.error_interval[0]:.1%} to {found.error_interval[1]:.1%}), "
        "estimated; the model's own confident errors are in it",
    ]
    lines += [f"{found.without_label} faces have no label under the {args.protocol} protocol"] if found.without_label else []
    lines += ["", "estimated share of each given label (rows) that is each expression (columns)"]
    lines += [f"{'':>10}" + "".join(f"{name:>11}" for name in found.classes) + "   faces  candidates"]
    for name, row in zip(found.classes, found.joint, strict=True):
        whole, of_class = sum(row), found.per_class[name]
        shares = "".join(f"{share / whole:11.1%}" if whole else f"{'-':>11}" for share in row)
        lines.append(f"{name:>10}{shares}{of_class.faces:8d}{of_class.candidates:12d}")
    top = min(args.top, SHOWN)
    lines += ["", f"{len(found.found)} candidates, the least probable labels first"]
    for face in found.found[:top]:
        lines.append(f"  {face.given} {face.self_confidence:.1%}, likely {face.likely}: {face.split} {face.sample_id}")
    rest = len(found.found) - top
    return [*lines, *([f"  and {rest:,} more (--json and --to list --top of them)"] if rest > 0 else [])]


def run_correct(args: argparse.Namespace) -> int:
    """Write the corrected set, then print what changed."""
    from fer_core.faceset.staging import check_target
    from fer_core.review.corrected_set import correct_faceset
    from flows.cli.stage_progress import StageProgress

    check_target(args.to)
    with StageProgress() as progress:
        progress("correcting the face set")
        found = correct_faceset(args.faceset, args.file, args.to)
    lines = [f"wrote {args.to}: {found.changed} labels changed, {found.confirmed} confirmed, {found.removed} faces left out"]
    lines += [f"{found.undecided} unchanged: the reviewer cannot tell"] if found.undecided else []
    lines += [f"{found.absent} corrections are about faces that the set does not have"] if found.absent else []
    print_result(args.json, asdict(found), lines)
    return 0
