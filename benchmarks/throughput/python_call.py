"""`fer_core.label_images` against one worker of `ferflow label`, in turns on the same pictures, and its first call in a new process.

    python -m benchmarks.throughput.python_call --photos FOLDER --to FIGURES
    python -m benchmarks.throughput.python_call --to FIGURES        composed pictures

Photographs, also those in folders below, are repeated until there are --images of them at half a megapixel. The worker's steady rate counts
from the first shard to the commit, the call's from its first picture to its frame, both without loading. The first call is a new Python
that imports `fer_core` and labels one picture: wall and processor seconds, the smallest of several. Writes python_call.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common.child import REPOSITORY, answer_of
from benchmarks.common.pictures import repeated, varied
from benchmarks.common.record import machine, write_record
from benchmarks.common.turns import in_turn
from benchmarks.throughput.whole_job import measured

MODULE = "benchmarks.throughput.python_call"
FIRST_CALLS = 5
FIRST = "import sys, fer_core; assert len(fer_core.label_images(sys.argv[1]))"


def main() -> None:
    """Measure in turns and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, metavar="FOLDER")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--to", type=Path, metavar="FIGURES", help="folder for the JSON file")
    parser.add_argument("--rate", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.rate:
        print(json.dumps(rate(args.rate)))
        return
    if args.to is None:
        parser.error("--to FIGURES is needed")
    about = machine()
    with tempfile.TemporaryDirectory() as place:
        to = Path(place) / "pictures"
        pictures = repeated(args.photos, to, args.images) if args.photos else varied(to, args.images)
        figures = {
            "source": "photographs" if args.photos else "generated",
            "images": args.images,
            "first_call_seconds": min((first_call(min(pictures.iterdir())) for _ in range(FIRST_CALLS)), key=lambda one: one["wall"]),
            "rounds": [one_round(pictures, Path(place) / f"labels-{number}", number) for number in range(args.rounds)],
        }
    figures["ratio"] = round(median(one["ratio"] for one in figures["rounds"]), 3)
    write_record(args.to, "python_call", figures, about)
    print(f"first call {figures['first_call_seconds']}; {figures['ratio']:.2f} times the rate of one worker")


def one_round(pictures: Path, labels: Path, number: int) -> dict[str, Any]:
    """Both once."""
    done = in_turn(
        {
            "worker": lambda: measured(str(pictures), labels, "builtin", 1)["steady_images_per_second"],
            "call": lambda: answer_of(MODULE, "--rate", pictures)["images_per_second"],
        },
        number,
    )
    return {"images_per_second": done, "ratio": round(done["call"] / done["worker"], 3)}


def first_call(picture: Path) -> dict[str, float]:
    """Wall and processor seconds."""
    begin = time.perf_counter()
    with subprocess.Popen([sys.executable, "-P", "-c", FIRST, str(picture)], cwd=REPOSITORY) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the first call failed with exit code {process.returncode}")
    return {"wall": round(time.perf_counter() - begin, 2), "processor": round(used.ru_utime + used.ru_stime, 2)}


def rate(pictures: Path) -> dict[str, Any]:
    """All pictures with networks that are loaded."""
    import fer_core

    files = sorted(pictures.iterdir())
    with fer_core.Labeler(detector="builtin", device="cpu") as labeler:
        labeler.label(files[:8])
        begin = time.perf_counter()
        rows = len(labeler.label(files))
        seconds = time.perf_counter() - begin
    return {"images_per_second": len(files) / seconds, "rows": rows}


if __name__ == "__main__":
    main()
