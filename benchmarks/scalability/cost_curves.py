"""What a run costs against the number of pictures, the faces in them and their size: seconds, images a second, peak memory of the workers.

    python -m benchmarks.scalability.cost_curves --to FIGURES     100, 1,000 and 10,000 pictures; 0 to 50 faces; 0.3 to 12 megapixels
    python -m benchmarks.scalability.cost_curves --only sizes --long --to FIGURES     100,000 pictures as well

Composed pictures, two workers, `builtin` and `tiny`. Pictures of the first curve have one face each and 0.08 megapixels (320 x 240), so
that ten thousand are looked at in minutes; those of the second 0.5 megapixels, those of the third one face. Memory is the resident set of
the largest worker process, asked of the system five times a second. Writes cost_curves.json after every point; --resume keeps its points.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common.pictures import composed
from benchmarks.common.record import machine, revision, write_record

NAME = "cost_curves"
SMALL = 0.0768
"""Megapixels of the pictures whose number grows."""
EVERY = 0.2
"""Seconds between two looks at the workers' memory."""
CURVES: dict[str, list[tuple[int, int, float]]] = {
    "sizes": [(100, 1, SMALL), (1_000, 1, SMALL), (10_000, 1, SMALL)],
    "faces": [(100, faces, 0.5) for faces in (0, 1, 5, 50)],
    "megapixels": [(120, 1, 0.3), (60, 1, 2.0), (24, 1, 12.0)],
}
"""Pictures, faces in each, megapixels."""


def main() -> None:
    """Measure point after point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(CURVES))
    parser.add_argument("--long", action="store_true", help="100,000 pictures as well")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="keep the points that the JSON file already has")
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    args = parser.parse_args()
    about, file = machine(), args.to / f"{NAME}.json"
    curves: dict[str, list[dict[str, Any]]] = (
        json.loads(file.read_text(encoding="utf-8"))["curves"] if args.resume and file.is_file() else {}
    )
    for name in [args.only] if args.only else list(CURVES):
        wanted = CURVES[name] + ([(100_000, 1, SMALL)] if args.long and name == "sizes" else [])
        for number, point in enumerate(wanted):
            done = curves.setdefault(name, [])
            if len(done) > number:
                continue
            done.append(measured_point(*point, args.workers))
            write_record(args.to, NAME, {"workers": args.workers, "curves": curves}, about)


def measured_point(images: int, faces: int, megapixels: float, workers: int) -> dict[str, Any]:
    """One run of the command over a collection of its own."""
    with tempfile.TemporaryDirectory() as place:
        pictures = composed(Path(place) / "pictures", images, faces, megapixels)
        command = [sys.executable, "-P", "-m", "flows.cli.main", "label", str(pictures), "--detector", "builtin"]
        command += ["--to", str(Path(place) / "labels")]
        said, peak = watched([*command, "--workers", str(workers), "--json"])
    kept = ("seconds", "startup_seconds", "images_per_second", "steady_images_per_second", "stage_seconds")
    about = {
        "images": images,
        "faces_wanted": faces,
        "megapixels": megapixels,
        "faces_found": said["faces"] / images,
        "revision": revision(),
    }
    return {**about, **{name: said[name] for name in kept}, "worker_peak_bytes": peak}


def watched(command: list[str], every: float = EVERY) -> tuple[dict[str, Any], int]:
    """What a command says as JSON, and the largest resident set that one of its workers had."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watch = _Watch(process.pid, every)
        watch.start()
        said, _ = process.communicate()
        watch.ended.set()
        watch.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(command[2:4])} failed with exit code {process.returncode}")
    return json.loads(said), watch.peak


class _Watch(threading.Thread):
    """Looks at the worker processes below a process until `ended` is set."""

    def __init__(self, pid: int, every: float) -> None:
        super().__init__(daemon=True)
        self._every = every
        self.ended, self.peak, self._root = threading.Event(), 0, psutil.Process(pid)

    def run(self) -> None:
        while not self.ended.wait(self._every):
            try:
                below = self._root.children(recursive=True)
            except psutil.NoSuchProcess:
                return
            self.peak = max([self.peak, *(resident(process) for process in below)])


def resident(process: psutil.Process) -> int:
    """Bytes, if it is one of Dask's workers (spawned by multiprocessing) and still there."""
    try:
        return int(process.memory_info().rss) if any("multiprocessing" in word for word in process.cmdline()) else 0
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
