"""`ferflow relabel`: labels of another model for faces whose crops were kept."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from flows.cli.answer_options import add_precision, add_prior
from flows.cli.cluster_option import CLUSTER
from flows.cli.labelling_run import LabellingRun, given_options
from flows.cli.option_types import typed_text
from flows.output import print_result

if TYPE_CHECKING:
    from flows.relabel_params import RelabelParams
    from tasks.artifacts.relabel import RelabelSummary

HELP = """Labels faces again with another model, from the crops of `ferflow label --keep-crops`. It reads no photograph and detects no
face: boxes, points and quality are kept, and the new labels equal those of labelling the photographs again.

  ferflow relabel ~/labels --model models/better
  ferflow relabel ~/labels --model models                 the champion of a folder of models

The new labels form a separate run; queries of the view `current` return them after its commit. Images without kept crops keep their
labels until the next `ferflow label` with the same model, which skips what was relabelled."""

EPILOG = """A run is visible only after its commit. An interrupted run is finished with --resume and the same options.
Exit codes: 0 relabelled and committed, also when there was nothing to do; 1 failed; 2 wrong use."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "relabel",
        help="new labels from kept crops, without the photographs",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", help="labels root: folder or s3:// prefix")
    parser.add_argument("--model", metavar="NAME|DIR", required=True, help="shipped model, model folder or folder of models")
    add_prior(parser)
    add_precision(parser)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where the network runs (default: auto)")
    parser.add_argument("--cluster", metavar="SPEC", help=CLUSTER)
    parser.add_argument("--workers", metavar="N", type=int, help="local worker processes (default: every core)")
    parser.add_argument("--shard-size", metavar="N", type=int, help="images a shard (default: a few shards a worker, at most 1,000 each)")
    parser.add_argument("--timezone", metavar="TZ", help="run_date is the day in this time zone (default: this machine's)")
    parser.add_argument("--purpose", metavar="TEXT", type=typed_text, help="why these faces are labelled (default: as in the earlier run)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run-id", metavar="ID", help="name of the run: lower-case letters, digits, hyphens (default: from the time)")
    which.add_argument("--resume", metavar="ID", help="finish an interrupted run; the same options")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--verbose", action="store_true", help="show log lines of Prefect and Dask, and tracebacks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what can be checked at once, then run the flow."""
    from flows.server.garbage_collection import deferred_collection
    from flows.server.prefect_api import early_api

    with early_api(verbose=args.verbose), deferred_collection():
        return _relabel(args)


def _relabel(args: argparse.Namespace) -> int:
    from fer_core.commit.publish import is_committed
    from fer_core.storage.store import open_store
    from flows.relabel_params import RelabelParams
    from flows.setup.checks import parse_params
    from flows.setup.relabel import check_relabel, committed_summary

    params = parse_params(RelabelParams, given_options(args, RelabelParams))
    if params.resume is not None and is_committed(open_store(params.root), params.resume):
        return _answer(args, committed_summary(params))
    images = check_relabel(params)
    words = ("relabel", params.root)
    summary = LabellingRun(params.named(), params.root, images, words, _load_flow, args.verbose, args.json).run()
    return _answer(args, summary)


def _load_flow() -> "Callable[[RelabelParams], RelabelSummary]":
    from flows.relabel import relabel

    return relabel


def _answer(args: argparse.Namespace, summary: "RelabelSummary") -> int:
    from flows.cli.started import STARTED_AT
    from flows.label_summary import as_json

    value = as_json(summary.run, STARTED_AT)
    value["changes"] = summary.changes.to_json()
    print_result(args.json, value, "" if args.json else _text(summary, STARTED_AT))
    return 0


def _text(summary: "RelabelSummary", started_at: float) -> list[str]:
    from flows.label_summary import model_told
    from tasks.artifacts.relabel import describe_moves, headline

    run, changes, manifest = summary.run, summary.changes, summary.run.manifest
    done = f"{run.images:,} images relabelled, {manifest.faces:,} faces, {manifest.unchanged:,} images had labels of this model already"
    lines = [f"run {manifest.run_id}: {done}"]
    if changes.without_crops:
        lines.append(f"{changes.without_crops:,} images keep their labels: the crops of their faces were not kept")
    if changes.faces:
        lines += [headline(changes), *describe_moves(changes)]
        lines.append(f"mean confidence {changes.confidence_before:.3f} before, {changes.confidence_after:.3f} now")
    seconds = run.committed_at - started_at
    if run.images > run.resumed:
        lines.append(f"{seconds:.1f} s, of which {run.ready_at - started_at:.1f} s to start; then {run.images_per_second:.1f} images/s")
    lines += ["", f"model     {model_told(manifest)}", f"manifest  {run.manifest_url}"]
    return lines
