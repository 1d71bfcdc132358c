"""`ferflow verify`: checks a labels root against its manifests."""

import argparse
from functools import partial

from flows.output import print_result

HELP = """Reads every committed part and checks that it is present, intact and complete, and that no row occurs twice.
It changes nothing. Exit code 1 on any problem.

  ferflow verify ~/labels"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "verify",
        help="check that every committed row is present and intact",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", help="labels root")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout: ok, runs, parts, rows, problems, notes")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """1 on any problem."""
    from fer_core.commit.verify import verify
    from fer_core.errors import StoreError
    from fer_core.storage.paths import RUNS
    from fer_core.storage.store import open_store
    from flows.cli.stage_progress import StageProgress

    store = open_store(args.root)
    if not store.list_files(RUNS):
        raise StoreError(f"there is no run in {store.url()}")
    with StageProgress() as progress:
        report = verify(store, partial(progress, "verified files"))
    state = "no problems" if report.ok else f"{len(report.problems)} problems"
    lines = [*report.problems, *(f"note: {note}" for note in report.notes)]
    lines.append(f"{state}: {report.runs} runs, {report.parts} parts, {report.rows:,} rows")
    value = {"ok": report.ok, "runs": report.runs, "parts": report.parts, "rows": report.rows}
    print_result(args.json, {**value, "problems": list(report.problems), "notes": list(report.notes)}, lines)
    return 0 if report.ok else 1
