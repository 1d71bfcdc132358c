"""What a second worker brings: the whole job with one worker and with two, in turns, each worker with one thread.

    python benchmarks/workers_speedup.py --to FIGURES [--photos FOLDER] [--images 600] [--rounds 2]

Composed pictures of half a megapixel unless --photos names a folder. The speed-up is that of the steady rates of a round. Decoding and
detection alone, one process and then two, say what the machine itself allows: two cores that share a cache or a clock are not twice one.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import alone
from all_cores import rate
from pictures import repeated, varied
from record import machine, written
from whole_job import measured


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
        for number in range(args.rounds):
            jobs = {count: measured(str(pictures), Path(place) / f"labels-{number}-{count}", "builtin", count) for count in (1, 2)}
            rates = {count: job["steady_images_per_second"] for count, job in jobs.items()}
            bare = {count: rate(alone.finding, files[: min(200, len(files))], count) for count in (1, 2)}
            rounds.append({"jobs": list(jobs.values()), "speedup": rates[2] / rates[1], "machine_allows": bare[2] / bare[1]})
            written(args.to, "workers_speedup", {"images": args.images, "rounds": rounds}, about)


if __name__ == "__main__":
    main()
