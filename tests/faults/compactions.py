"""Compactions under a reader, again and again: `python -m tests.faults.compactions --rounds 60 --how join --pause 0.3`.

Each round compacts a fresh root of 13 small parts a table while one DuckDB reader asks it. Says in which rounds the reader saw an error or
other rows, and exits with 1 if there were any.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from fer_core import compaction
from fer_core.store import open_store
from tests import fakes
from tests.many_parts import FACES, ended, globbed, reading, three_nights


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--how", choices=("count", "union", "join"), default="join")
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two questions")
    parser.add_argument("--patience", type=float, default=60.0, help="seconds for which a moment is waited for")
    args = parser.parse_args()
    compaction.PATIENCE_SECONDS = args.patience  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        bad, busy, questions = _rounds(args, Path(folder))
    sys.stdout.write(
        f"{args.rounds} rounds, {questions} questions, {bad} rounds bad, {busy} without a moment ({args.how}, pause {args.pause} s)\n"
    )
    return int(bad > 0)


def _rounds(args: argparse.Namespace, folder: Path) -> tuple[int, int, int]:
    photos = fakes.write_pictures(folder / "photos", FACES)
    three_nights(photos, fakes.config(folder / "labels", source=str(photos)))
    bad = busy = questions = 0
    for number in range(args.rounds):
        root = folder / f"round-{number}"
        shutil.copytree(folder / "labels", root)
        rows = globbed(root)[0]
        reader = reading(str(root), args.how, args.pause)
        busy += bool(compaction.compact(open_store(str(root)), wait=1.0).busy)
        said = ended(reader)
        questions += said["questions"]
        if said["errors"] or [tuple(seen) for seen in said["seen"]] != [rows]:
            bad += 1
            sys.stdout.write(f"round {number}: {said['seen']} {said['errors'][:1]}\n")
        shutil.rmtree(root)
    return bad, busy, questions


if __name__ == "__main__":
    sys.exit(main())
