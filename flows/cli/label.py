"""`ferflow label`: photographs in, Parquet out."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from flows.cli.answer_options import add_precision, add_prior
from flows.cli.cluster_option import CLUSTER
from flows.cli.labelling_run import LabellingRun, given_options
from flows.cli.option_types import typed_text
from flows.output import print_line, print_result

if TYPE_CHECKING:
    from flows.label_params import LabelParams
    from tasks.artifacts.label import Summary

HELP = """Finds every face in a collection of photographs and labels its apparent expression.

SOURCE is a folder (with all below it), a pattern in quotes, a list file (.txt, .csv, .parquet) or an s3:// prefix. ROOT is the folder or
s3:// prefix of the tables; it grows with every run. Images that an earlier run has labelled with the same detector and model are skipped.

  ferflow label ~/Photos --to ~/labels
  ferflow label ~/Photos --to ~/labels --dry-run                     what would be read, and how long that takes
  ferflow label 's3://bucket/2026/*/*.jpg' --to s3://bucket/labels --cluster tcp://scheduler:8786
  ferflow label ~/Photos --to ~/labels --cluster slurm:night.json    {"partition": "night", "jobs": {"minimum": 1, "maximum": 20}}
  ferflow label ~/Photos --to ~/labels --detector yunet:face_detection_yunet_2023mar.onnx --purpose 'user study 12, consent given'"""

EPILOG = """An image that cannot be read gets one row with a reason; it does not stop the run. A run is visible only after its commit. An
interrupted run is finished with --resume and the same SOURCE and options.
Exit codes: 0 labelled and committed, also when nothing was new; 1 failed, or more than --max-failed was quarantined; 2 wrong use."""

MIN_FACE_HELP = (
    "smallest face to look for, the shorter side of its box: pixels from 10 on, or a share of the longest side, at least 20 pixels "
    "(default: 1%%); the larger, the faster, and pixels are searched more finely than a share"
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "label",
        help="label the faces of a photo collection",
        description=HELP,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="folder, pattern, list file or s3:// prefix of photographs")
    parser.add_argument("--to", metavar="ROOT", required=True, help="labels root: folder or s3:// prefix")
    look = parser.add_argument_group("detection and prediction")
    look.add_argument("--detector", metavar="SPEC", help="auto (default), builtin, yunet[:FILE], insightface:PACK or scrfd:FILE")
    look.add_argument("--min-face", metavar="PX|N%", help=MIN_FACE_HELP)
    look.add_argument(
        "--max-megapixels", metavar="N", type=float, help="do not decode larger photographs (default: 100); a worker needs 13 bytes a pixel"
    )
    look.add_argument("--max-bytes", metavar="N", type=int, help="do not read larger files (default: 64 MiB)")
    look.add_argument("--model", metavar="NAME|DIR", help="shipped model or model folder (see: ferflow models list)")
    look.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where the network runs (default: auto)")
    add_prior(look)
    add_precision(look)
    listed = parser.add_argument_group("listing")
    listed.add_argument(
        "--follow-links", action="store_true", help="also enter folder links that lead out of SOURCE (links to files are always read)"
    )
    listed.add_argument(
        "--exclude",
        metavar="PATTERN",
        action="append",
        help="leave out files and folders of that name, such as private or '*.png', or at that path below SOURCE; repeatable",
    )
    listed.add_argument(
        "--no-default-excludes", action="store_true", help="also list recycle bins and folders of thumbnails (@eaDir, .Trash*, .git ...)"
    )
    listed.add_argument("--column", metavar="NAME", help="column of a .csv or .parquet list (default: one of a known name, or the first)")
    listed.add_argument("--anonymous", action="store_true", help="read photographs in public S3 buckets without credentials")
    listed.add_argument("--max-list-rows", metavar="N", type=int, help="refuse a list file of more rows (default: 10,000,000)")
    listed.add_argument("--max-list-bytes", metavar="N", type=int, help="refuse a list file of more bytes, also unpacked (default: 1 GiB)")
    work = parser.add_argument_group("workers")
    work.add_argument("--cluster", metavar="SPEC", help=CLUSTER)
    work.add_argument("--workers", metavar="N", type=int, help="local worker processes (default: every core)")
    work.add_argument("--shard-size", metavar="N", type=int, help="images a shard (default: half a minute of work, less towards the end)")
    work.add_argument(
        "--image-timeout", metavar="SECONDS", type=float, help="longest time of one image before it is quarantined (default: 300)"
    )
    runs = parser.add_argument_group("the run")
    which = runs.add_mutually_exclusive_group()
    which.add_argument("--run-id", metavar="ID", help="name of the run: lower-case letters, digits, hyphens (default: from the time)")
    which.add_argument("--resume", metavar="ID", help="finish an interrupted run; the same SOURCE and options")
    runs.add_argument("--force", action="store_true", help="read images again that are labelled already")
    runs.add_argument("--keep-crops", action="store_true", help="also keep the aligned faces: personal data")
    runs.add_argument("--purpose", metavar="TEXT", type=typed_text, help="why these faces are labelled; kept with the run")
    runs.add_argument(
        "--file-mode", choices=("owner", "group"), help="who reads the root's files: owner (default for a new local root), or its group too"
    )
    runs.add_argument(
        "--max-failed",
        metavar="PCT",
        type=float,
        help="exit 1 when more than this share of the listing was newly quarantined",
    )
    runs.add_argument("--timezone", metavar="TZ", help="run_date is the day in this time zone (default: this machine's)")
    runs.add_argument("--dry-run", action="store_true", help="say what would be read, and how long it would take; write nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--verbose", action="store_true", help="show log lines of Prefect and Dask, and tracebacks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what can be checked at once, then run the flow."""
    from flows.server.garbage_collection import deferred_collection
    from flows.server.prefect_api import early_api

    if args.dry_run:
        from flows.cli.dry_run import dry_run

        return dry_run(_params(args), args.json)
    with early_api(verbose=args.verbose), deferred_collection():
        return _label(args, _params(args))


def _params(args: argparse.Namespace) -> "LabelParams":
    from flows.label_params import LabelParams
    from flows.setup.checks import parse_params
    from flows.setup.known_source import under_known_source

    given = parse_params(LabelParams, given_options(args, LabelParams))
    params = under_known_source(given)
    if params.source != given.source:
        print_line(
            f"note: {given.source} is the folder that earlier runs of this root labelled as {params.source}: it is listed under that name"
        )
    return params


def _label(args: argparse.Namespace, params: "LabelParams") -> int:
    from fer_core.commit.publish import is_committed
    from fer_core.storage.store import open_store
    from flows.cli.progress_bar import notices
    from flows.setup.checks import check_label

    images = check_label(params)
    if params.resume is not None and is_committed(open_store(params.to), params.resume):
        from flows.label_summary import committed_summary

        return _answer(args, params, committed_summary(params.to, params.resume), f"run {params.resume} was committed already")
    notices(params)
    words = ("label", params.source, "--to", params.to)
    summary = LabellingRun(params.named(), params.to, images, words, _load_flow, args.verbose, args.json).run()
    return _answer(args, params, summary, "")


def _load_flow() -> "Callable[[LabelParams], Summary]":
    from flows.label import label_collection
    from tasks.quarantine import QuarantineError

    def label(params: "LabelParams") -> "Summary":
        try:
            return label_collection(params)
        except QuarantineError as error:  # its run has failed, after its commit: there is everything to tell
            return error.summary

    return label


def _answer(args: argparse.Namespace, params: "LabelParams", summary: "Summary", first_line: str) -> int:
    from flows.cli.started import STARTED_AT
    from flows.label_summary import as_json, as_text, max_failed_sentence

    print_result(args.json, as_json(summary, STARTED_AT), "" if args.json else as_text(summary, STARTED_AT, first_line))
    sentence = max_failed_sentence(summary, params.max_failed)
    if sentence:
        print_line(f"ferflow: {sentence}")
        return 1
    return 0
