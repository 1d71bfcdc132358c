"""`ferflow label`: photographs in, Parquet out."""

import argparse
import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flows.cli.cluster_option import CLUSTER
from flows.output import print_line, print_result

if TYPE_CHECKING:
    from fer_core.errors import FerflowError
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
    look.add_argument("--model", metavar="NAME|DIR", help="shipped model or model folder (see: ferflow models list)")
    look.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where the network runs (default: auto)")
    listed = parser.add_argument_group("listing")
    listed.add_argument(
        "--follow-links", action="store_true", help="also enter folder links that lead out of SOURCE (links to files are always read)"
    )
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
    runs.add_argument("--purpose", metavar="TEXT", help="why these faces are labelled; kept with the run")
    runs.add_argument(
        "--file-mode", choices=("owner", "group"), help="who reads the root's files: owner (default for a new local root), or its group too"
    )
    runs.add_argument("--max-failed", metavar="PCT", type=float, help="exit 1 when more than this share of images was quarantined")
    runs.add_argument("--dry-run", action="store_true", help="say what would be read, and how long it would take; write nothing")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--verbose", action="store_true", help="show log lines of Prefect and Dask, and tracebacks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what can be checked at once, then run the flow."""
    from fer_core.commit.publish import is_committed
    from fer_core.storage.store import open_store
    from flows.form_fields import new_run_id
    from flows.setup.checks import check_label, label_params

    params = label_params(_given(args))
    if args.dry_run:
        from flows.cli.dry_run import dry_run

        return dry_run(params, args.json)
    images = check_label(params)
    if params.resume is not None and is_committed(open_store(params.to), params.resume):
        from flows.label_summary import committed_summary

        return _answer(args, params, committed_summary(params.to, params.resume), f"run {params.resume} was committed already")
    if params.resume is None and params.run_id is None:
        params = params.model_copy(update={"run_id": new_run_id()})
    from fer_core.errors import FerflowError
    from tasks.execution.signals import stop_requested

    try:
        summary = _run_flow(params, images, args)
    except KeyboardInterrupt:
        raise FerflowError("interrupted; " + _how_to_resume(params)) from None
    except Exception as error:
        if stop_requested():  # the interrupt came up inside somebody else's code and was wrapped there
            raise FerflowError("interrupted; " + _how_to_resume(params)) from None
        if isinstance(error, FerflowError):
            raise _with_resume(error, params) from error
        raise
    return _answer(args, params, summary, "")


def _run_flow(params: "LabelParams", images: int, args: argparse.Namespace) -> "Summary":
    """Everything that is started here is stopped here, whatever happens."""
    from flows.cli.progress_bar import Display, notices
    from flows.server.prefect_api import prefect_api
    from flows.server.session import session
    from tasks.execution.progress import listening
    from tasks.execution.signals import raise_if_stop_requested

    notices(params)
    cluster = params.cluster.with_workers(params.workers)
    with ExitStack() as stack:
        display = stack.enter_context(Display())
        stack.enter_context(session())
        api = stack.enter_context(prefect_api(verbose=args.verbose))
        stack.enter_context(cluster.start_early(images, params.shard_size, args.verbose))
        from flows.label import label_collection
        from tasks.quarantine import QuarantineError

        stack.enter_context(api.ready())
        stack.enter_context(listening(display.show, display.warn, display.stage))
        raise_if_stop_requested()
        try:
            return label_collection(params)
        except QuarantineError as error:  # its run has failed, after its commit: there is everything to tell
            return error.summary


def _given(args: argparse.Namespace) -> dict[str, object]:
    """The options that were given, under the parameters' names."""
    what = ("source", "to", "detector", "model", "device", "run_id", "resume", "purpose", "max_failed", "file_mode")
    names = (*what, "cluster", "workers", "shard_size", "image_timeout", "max_list_rows", "max_list_bytes")
    values = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return {**values, "force": args.force, "keep_crops": args.keep_crops, "follow_links": args.follow_links}


def _answer(args: argparse.Namespace, params: "LabelParams", summary: "Summary", first_line: str) -> int:
    from flows.cli.started import STARTED_AT
    from flows.label_summary import as_json, as_text, max_failed_sentence

    print_result(args.json, as_json(summary, STARTED_AT), "" if args.json else as_text(summary, STARTED_AT, first_line))
    sentence = max_failed_sentence(summary, params.max_failed)
    if sentence:
        print_line(f"ferflow: {sentence}")
        return 1
    return 0


def _with_resume(error: "FerflowError", params: "LabelParams") -> "FerflowError":
    """The same error; where the run has begun, with the command that goes on."""
    hint = _how_to_resume(params)
    return type(error)(f"{str(error).rstrip('.')}; {hint}") if hint.startswith("resume") and len(error.args) == 1 else error


def _how_to_resume(params: "LabelParams") -> str:
    from fer_core.commit.publish import is_committed
    from fer_core.errors import StoreError
    from fer_core.storage.paths import plan_file
    from fer_core.storage.store import open_store

    run_id = params.resume or params.run_id
    assert run_id is not None
    try:
        store = open_store(params.to)
        if is_committed(store, run_id):
            return f"run {run_id} is committed"
        begun = store.exists(plan_file(run_id))
    except StoreError:
        begun = True
    return "resume with: " + resume_command(params, run_id) if begun else "nothing was begun yet, run the same command again"


def resume_command(params: "LabelParams", run_id: str) -> str:
    """What to type."""
    words = ["ferflow", "label", params.source, "--to", params.to, "--resume", run_id]
    given = params.model_dump(exclude_defaults=True, exclude={"source", "to", "run_id", "resume"})
    for name, value in (given | ({"cluster": params.cluster.as_text()} if "cluster" in given else {})).items():
        words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return shlex.join(words)
