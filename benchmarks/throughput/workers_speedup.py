"""What a second worker brings: the whole job with one worker and with two, in turns, each worker with one thread for its networks.

    python -m benchmarks.throughput.workers_speedup --to FIGURES [--photos FOLDER] [--images 600] [--rounds 2]

Composed pictures of half a megapixel unless --photos names a folder. The speed-up is that of the steady rates of a round. A worker reads,
decodes and writes on threads beside its networks', so that one alone already uses more than a core where there are more; therefore one
worker is also run with all that belongs to its job confined to one core (on Linux), and two workers on two cores are compared with that.
Decoding and detection alone, one process and then two, say what the machine itself allows: two cores that share a cache or a clock are not
twice one.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.common.pictures import repeated, varied
from benchmarks.common.record import machine, write_record
from benchmarks.throughput import alone
from benchmarks.throughput.all_cores import rate
from benchmarks.throughput.whole_job import measured


def main() -> None:
    """Measure in turns and write workers_speedup.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    args = parser.parse_args()
    about, rounds = machine(), list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as place:
        to = Path(place) / "pictures"
        pictures = repeated(args.photos, to, args.images) if args.photos else varied(to, args.images)
        files = [str(file) for file in sorted(pictures.iterdir())]
        for _ in range(args.rounds):
            rounds.append(_round(pictures, files[: min(200, len(files))]))
            write_record(args.to, "workers_speedup", {"images": args.images, "rounds": rounds}, about)


def _round(pictures: Path, files: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        with one_core():
            confined = measured(str(pictures), Path(place) / "confined", "builtin", 1)
        jobs = [measured(str(pictures), Path(place) / f"labels-{count}", "builtin", count) for count in (1, 2)]
    one_on_one, one, two = (job["steady_images_per_second"] for job in (confined, *jobs))
    bare = [rate(alone.finding, files, count) for count in (1, 2)]
    return {
        "confined": confined,
        "jobs": jobs,
        "speedup": two / one_on_one,
        "speedup_over_unconfined": two / one,
        "machine_allows": bare[1] / bare[0],
    }


@contextmanager
def one_core() -> Iterator[None]:
    """This process, and those that it starts meanwhile, on the first of its cores alone, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


if __name__ == "__main__":
    main()
