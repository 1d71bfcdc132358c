"""`ferflow discard`: removes the files of an interrupted run, which cannot be resumed afterwards."""

import argparse

from flows.output import print_result

HELP = """Removes the files of an interrupted run from a labels root: staged labels and crops, and its plan.
The run cannot be resumed afterwards. Without it, a commit or housekeeping removes staged files after 14 days.

  ferflow discard ~/labels run-20261124-101500-ab12

The command refuses a committed run, and every run while another process holds the lease of the root."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "discard",
        help="remove what an interrupted run left",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", help="labels root: folder or s3:// prefix")
    parser.add_argument("run_id", metavar="RUN", help="id of the interrupted run")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout: run_id, root, files")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Under the root's lease."""
    from fer_core.commit.lease import lease
    from fer_core.commit.recovery import discard
    from fer_core.errors import StoreError
    from fer_core.storage.paths import META
    from fer_core.storage.store import open_store

    store = open_store(args.root)
    if not store.list_files(META):  # before a lease is written, which would create a mistyped root
        raise StoreError(f"there is no run in {store.url()}")
    with lease(store, f"discarding run {args.run_id}") as held:
        files = discard(store, args.run_id, held.check)
    value = {"run_id": args.run_id, "root": store.url(), "files": files}
    print_result(args.json, value, f"run {args.run_id} discarded: {files} files removed from {store.url()}")
    return 0
