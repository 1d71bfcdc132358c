"""Images a second of the whole job, from the command's start to the commit, and where the time goes.

    python -m benchmarks.throughput.whole_job                                  200 generated photographs, 1 and 2 workers
    python -m benchmarks.throughput.whole_job ~/Photos --detector yunet --workers 4 --json figures.json

Prints Markdown; --json also writes what it is made of. Each figure comes from a run of its own, `ferflow label --json` into an empty root.

Worker seconds are seconds of the wall clock times workers, from the moment the first shard could start until the commit. `load` is reading
network and detector, once a process. What no stage accounts for is orchestration: handing shards out, waiting for the last of them,
publishing parts and manifest. `start-up` happens before: Prefect, Dask, listing and planning; `list` is a part of it, measured apart.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from benchmarks.common.processor import instructions, matrix_gflops
from fer_core.collection.inventory import list_images
from flows.cli.demo import demo_pictures

MEGAPIXELS = 0.5
STAGES = ("load", "read", "decode", "detect", "align", "predict", "write")


def generated(folder: Path, count: int) -> Path:
    """`count` photographs of half a megapixel: the two demonstration pictures in turn, each file with a digest of its own."""
    folder.mkdir()
    pictures = [resized(Image.open(file).convert("RGB")) for file in demo_pictures(folder.parent / "originals")]
    for number in range(count):
        pictures[number % len(pictures)].save(folder / f"photo-{number:05d}.jpg", quality=90, comment=f"{number}")
    return folder


def resized(picture: Image.Image) -> Image.Image:
    """Half a megapixel."""
    scale = (MEGAPIXELS * 1e6 / (picture.width * picture.height)) ** 0.5
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def measured(source: str, root: Path, detector: str, workers: int) -> dict[str, Any]:
    """One run: the command's own answer, and where its worker seconds went."""
    command = [sys.executable, "-P", "-m", "flows.cli.main", "label", source, "--to", str(root), "--detector", detector]
    done = subprocess.run([*command, "--workers", str(workers), "--json"], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"ferflow label failed with exit code {done.returncode}")
    said: dict[str, Any] = json.loads(done.stdout)
    if not said["images"]["labeled"]:
        raise SystemExit(f"nothing was labelled, so there is nothing to measure: {said['images']}")
    available = workers * (said["seconds"] - said["startup_seconds"])
    stages = {stage: said["stage_seconds"][stage] for stage in STAGES}
    said["workers"] = workers
    said["worker_seconds"] = {**stages, "orchestration": round(max(0.0, available - sum(stages.values())), 3)}
    return said


def listing_seconds(source: str) -> float:
    """How long listing alone takes."""
    start = time.perf_counter()
    list_images(source)
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "busy_before_percent": psutil.cpu_percent(interval=1.0),
        "instructions": instructions(),
        "matrix_gflops": round(matrix_gflops(), 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "opencv-python", "prefect", "distributed")},
    }


def markdown(figures: dict[str, Any]) -> str:
    """Two tables: speed by workers, and worker seconds by stage."""
    runs, about = figures["runs"], figures["machine"]
    looked, labelled = sum(runs[0]["images"].values()), runs[0]["images"]["labeled"]
    lines = [
        f"{looked:,} photographs, {labelled:,} of them with faces, {runs[0]['faces']:,} faces, {figures['bytes'] / 2**20:.0f} MiB; "
        f"detector `{runs[0]['detector']}`, model `{runs[0]['model']['name']}`.",
        f"{about['processor']}, {about['cores']} cores ({about['busy_before_percent']:.0f} % busy before), {about['memory_gib']} GiB, "
        f"Python {about['python']}, torch {about['torch']}. Listing alone: {figures['list_seconds']:.3f} s.",
        "",
        "| workers | seconds | of which start-up | images/s, all | images/s, once started |",
        "|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {run['workers']} | {run['seconds']:.1f} | {run['startup_seconds']:.1f} | {run['images_per_second']:.1f} | "
        f"{run['steady_images_per_second']:.1f} |"
        for run in runs
    ]
    lines += ["", "| worker seconds | " + " | ".join(f"{run['workers']} workers" for run in runs) + " |", "|---|" + "---:|" * len(runs)]
    for stage in (*STAGES, "orchestration"):
        lines.append(f"| {stage} | " + " | ".join(_share(run["worker_seconds"], stage) for run in runs) + " |")
    return "\n".join(lines).replace("| 1 workers", "| 1 worker")


def _share(seconds: dict[str, float], stage: str) -> str:
    return f"{seconds[stage]:.2f} ({100 * seconds[stage] / max(sum(seconds.values()), 1e-9):.0f} %)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="collection to label (default: generated photographs)")
    parser.add_argument("--images", type=int, default=200, help="how many to generate (default: 200)")
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args(arguments)
    about = machine()
    with tempfile.TemporaryDirectory() as place:
        source = args.source or str(generated(Path(place) / "photos", args.images))
        listed = list_images(source)
        figures = {
            "machine": about,
            "bytes": sum(listed["bytes"].to_pylist()),
            "list_seconds": listing_seconds(source),
            "runs": [measured(source, Path(place) / f"labels-{workers}", args.detector, workers) for workers in args.workers],
        }
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown(figures))


if __name__ == "__main__":
    main()
