"""`ferflow relabel`: labels of another model for faces whose crops were kept."""

import argparse
import shlex
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flows.cli.cluster_option import CLUSTER
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
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where the network runs (default: auto)")
    parser.add_argument("--cluster", metavar="SPEC", help=CLUSTER)
    parser.add_argument("--workers", metavar="N", type=int, help="local worker processes (default: every core)")
    parser.add_argument("--shard-size", metavar="N", type=int, help="images a shard (default: a few shards a worker, at most 1,000 each)")
    parser.add_argument("--purpose", metavar="TEXT", help="why these faces are labelled (default: as in the earlier run)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--run-id", metavar="ID", help="name of the run: lower-case letters, digits, hyphens (default: from the time)")
    which.add_argument("--resume", metavar="ID", help="finish an interrupted run; the same options")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--verbose", action="store_true", help="show log lines of Prefect and Dask, and tracebacks")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check what can be checked at once, then run the flow."""
    from fer_core.commit.publish import is_committed
    from fer_core.errors import FerflowError
    from fer_core.storage.store import open_store
    from flows.form_fields import new_run_id
    from flows.setup.relabel import check_relabel, committed_summary, relabel_params
    from tasks.execution.signals import stop_requested

    names = ("root", "model", "device", "cluster", "workers", "shard_size", "purpose", "run_id", "resume")
    params = relabel_params({name: getattr(args, name) for name in names if getattr(args, name) is not None})
    if params.resume is not None and is_committed(open_store(params.root), params.resume):
        return _answer(args, committed_summary(params))
    images = check_relabel(params)
    if params.resume is None and params.run_id is None:
        params = params.model_copy(update={"run_id": new_run_id()})
    try:
        summary = _run_flow(params, images, args)
    except KeyboardInterrupt:
        raise FerflowError(f"interrupted; {_how_to_resume(params)}") from None
    except Exception as error:
        if stop_requested():  # the interrupt came up inside somebody else's code and was wrapped there
            raise FerflowError(f"interrupted; {_how_to_resume(params)}") from None
        if isinstance(error, FerflowError) and _is_begun(params):
            raise type(error)(f"{str(error).rstrip('.')}; {_how_to_resume(params)}") from error
        raise
    return _answer(args, summary)


def _run_flow(params: "RelabelParams", images: int, args: argparse.Namespace) -> "RelabelSummary":
    """Everything that is started here is stopped here, whatever happens."""
    from flows.cli.progress_bar import Display
    from flows.server.prefect_api import prefect_api
    from flows.server.session import session
    from tasks.execution.progress import listening
    from tasks.execution.signals import raise_if_stop_requested

    cluster = params.cluster.with_workers(params.workers)
    with ExitStack() as stack:
        display = stack.enter_context(Display())
        stack.enter_context(session())
        api = stack.enter_context(prefect_api(verbose=args.verbose))
        if images:
            stack.enter_context(cluster.start_early(images, params.shard_size, args.verbose))
        from flows.relabel import relabel

        stack.enter_context(api.ready())
        stack.enter_context(listening(display.show, display.warn, display.stage))
        raise_if_stop_requested()
        return relabel(params)


def _answer(args: argparse.Namespace, summary: "RelabelSummary") -> int:
    from flows.cli.started import STARTED_AT
    from flows.label_summary import as_json

    value = as_json(summary.run, STARTED_AT)
    value["changes"] = summary.changes.to_json()
    print_result(args.json, value, "" if args.json else _text(summary, STARTED_AT))
    return 0


def _text(summary: "RelabelSummary", started_at: float) -> list[str]:
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
    lines += ["", f"model     {manifest.model_name} {manifest.model_digest[:12]}", f"manifest  {run.manifest_url}"]
    return lines


def _is_begun(params: "RelabelParams") -> bool:
    from fer_core.errors import StoreError
    from fer_core.storage.paths import plan_file
    from fer_core.storage.store import open_store

    try:
        return open_store(params.root).exists(plan_file(params.resume or params.run_id or ""))
    except StoreError:
        return True


def _how_to_resume(params: "RelabelParams") -> str:
    if not _is_begun(params):
        return "nothing was begun yet, run the same command again"
    words = ["ferflow", "relabel", params.root, "--resume", params.resume or params.run_id or ""]
    given = params.model_dump(exclude_defaults=True, exclude={"root", "run_id", "resume"})
    for name, value in (given | ({"cluster": params.cluster.as_text()} if "cluster" in given else {})).items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return "resume with: " + shlex.join(words)
