"""The campaign of kills: `python -m tests.faults.kills --seeds 110 --log tests/faults/kills.csv`.

For each seed a night is killed at the drawn moment, resumed or followed by another night, which may be killed as well, and in the end left
to finish. A reader asks all the while. One line a kill in the log.
"""

import argparse
import csv
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from fer_core.commit.publish import is_committed
from fer_core.storage.paths import plan_file
from tests.faults.chances import SETTINGS, STORES, drawn
from tests.faults.nights import SECOND, label, prepare
from tests.faults.surroundings import Surroundings
from tests.faults.trial import UNDISTURBED, Campaign, Line, Pace, Trial

BUCKET = "kills"


def paces(campaign: Campaign, folder: Path, settings: Sequence[str], stores: Sequence[str]) -> dict[tuple[str, str], Pace]:
    """How long a night takes undisturbed in each setting and storage. The first of all, which finds nothing loaded, does not count."""
    found = {}
    for number, (store, setting) in enumerate([(stores[0], settings[0]), *itertools.product(stores, settings)]):
        root = _root(store, f"pace-{number}", folder)
        opened = campaign.nights.begin(root)
        night = campaign.night(setting, root, "--run-id", SECOND, 1)
        while night.poll() is None and not opened.exists(plan_file(SECOND)):
            time.sleep(0.02)
        planned = time.monotonic() - night.started
        assert night.wait() == 0, night.said()
        assert is_committed(opened, SECOND)
        found[store, setting] = Pace(time.monotonic() - night.started, planned)
        sys.stderr.write(f"{store}, {setting}: {found[store, setting]}\n")
    return found


def run(seeds: Iterable[int], settings: Sequence[str], stores: Sequence[str], folder: Path, log: Path) -> int:
    """Run the seeds that are not in the log yet, one after another. Returns how many of them ended otherwise than undisturbed."""
    done = {int(row["seed"]) for row in csv.DictReader(log.open(newline=""))} if log.exists() else set()
    bad = 0
    with Surroundings(folder).with_s3().with_workers() as around:
        if {"flow", "cluster", "server"} & set(settings):
            around.with_prefect()
        around.share()
        _bucket()
        campaign = Campaign(around, prepare(folder / "nights", label))
        pace = paces(campaign, folder, settings, stores)
        for seed in seeds:
            if seed in done:
                continue
            case = drawn(seed, settings, stores)
            root = _root(case.store, f"seed-{seed}", folder)
            lines = Trial(campaign, case, root, pace[case.store, case.setting]).run()
            write(log, lines)
            bad += lines[0].result != UNDISTURBED
            sys.stderr.write(f"{seed}: {len(lines)} kills, {'; '.join(line.step for line in lines)}: {lines[0].result}\n")
    return bad


def _root(store: str, name: str, folder: Path) -> str:
    return f"s3://{BUCKET}/{name}" if store == "s3" else str(folder / name)


def write(log: Path, lines: list[Line]) -> None:
    """Append to the log, with a head where it is new."""
    new = not log.exists()
    with log.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Line)], lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(asdict(line) for line in lines)


def _bucket() -> None:
    import s3fs

    s3fs.S3FileSystem(use_listings_cache=False).mkdir(BUCKET)


def main() -> int:
    """Exit code 1 when any seed ended otherwise than undisturbed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=110, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="SEED")
    parser.add_argument("--log", type=Path, required=True, metavar="FILE.csv")
    parser.add_argument("--folder", type=Path, metavar="FOLDER", help="for roots, homes and logs (default: a temporary one)")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME", help=", ".join(SETTINGS))
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES), metavar="NAME", help=", ".join(STORES))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as passing:
        folder = (args.folder or Path(passing)).resolve()
        os.makedirs(folder / "nights", exist_ok=True)
        return min(1, run(range(args.first, args.first + args.seeds), args.settings, args.stores, folder, args.log))


if __name__ == "__main__":
    sys.exit(main())
