"""`ferflow compact`: many small parts become few."""

import argparse

from flows.answer import answer

HELP = """Merges the parts of each run into few files, while others read the tables. Rows, runs and manifests stay what they are.

  ferflow compact ~/labels
  ferflow compact ~/labels --before 2026-11-01

Who globs a table sees a run's old files or its new one, never both and never neither. The change is made at a moment in which no reader on
this machine is between listing files and opening them; a run for which there is none keeps its files until the next time. It needs a local
Linux disk; elsewhere, `ferflow export current` writes a compact copy."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "compact",
        help="merge the many small files of earlier nights",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("root", metavar="ROOT", help="labels root: a local folder")
    parser.add_argument("--before", metavar="DATE", type=_day, help="only runs planned before this day, YYYY-MM-DD (default: all)")
    wait = "how long a reader may take from listing a table to opening its last file (default: 30)"
    parser.add_argument("--wait", metavar="SECONDS", type=_seconds, help=wait)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout: runs, parts_before, parts_after, busy")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Under the root's lease."""
    from fer_core.compaction import WAIT_SECONDS, compact  # noqa: PLC0415  (heavy imports come after parsing)
    from fer_core.errors import StoreError  # noqa: PLC0415
    from fer_core.layout import RUNS  # noqa: PLC0415
    from fer_core.lease import lease  # noqa: PLC0415
    from fer_core.store import open_store  # noqa: PLC0415

    store = open_store(args.root)
    if not store.list_files(RUNS):
        raise StoreError(f"there is no run in {store.url()}")
    with lease(store, "compaction") as held:
        done = compact(store, args.before, WAIT_SECONDS if args.wait is None else args.wait, held.check)
    lines = [f"{done.runs} runs compacted: {done.parts_before} files became {done.parts_after}" if done.runs else "nothing to compact"]
    lines += [f"note: run {run_id} was being read all the time and keeps its files in a table" for run_id in done.busy]
    value = {"runs": done.runs, "parts_before": done.parts_before, "parts_after": done.parts_after, "busy": list(done.busy)}
    answer(args.json, value, lines)
    return 0


def _day(text: str) -> str:
    from datetime import date  # noqa: PLC0415  (the command starts light)

    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a day: {text}") from error


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}") from error
    if not 0 < seconds < 86_400:
        raise argparse.ArgumentTypeError(f"not a number of seconds between 0 and a day: {text}")
    return seconds
