"""Peak memory of a worker by the size of its pictures, beside the formula that a run is checked against.

    python -m benchmarks.memory.worker_memory [--megapixels 0.5 2 12 48 100] [--to FOLDER]

Each row is a process of its own that labels three JPEG pictures of that size with `builtin` and `tiny`. The formula is that of
`fer_core.pipeline.memory_estimate` for a run that reads pictures of at most that many pixels. Prints Markdown; --to also writes JSON.
"""

import argparse
import json
import resource
import tempfile
from pathlib import Path

import psutil
from PIL import Image

from benchmarks.common.child import answer_of
from benchmarks.throughput.whole_job import machine
from fer_core.pipeline.memory_estimate import worker_memory

PICTURES = 3


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.5, 2, 12, 48, 100])
    parser.add_argument("--to", type=Path)
    parser.add_argument("--label", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.label is not None:
        print(json.dumps(labelled_here(args.label)))
        return
    rows = [measured(megapixels) for megapixels in args.megapixels]
    if args.to is not None:
        args.to.mkdir(parents=True, exist_ok=True)
        (args.to / "worker_memory.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")
    print("| megapixels | MiB loaded | MiB at most | formula, MiB |\n|---:|---:|---:|---:|")
    for row in rows:
        print(f"| {row['megapixels']:g} | {row['loaded'] / 2**20:.0f} | {row['peak'] / 2**20:.0f} | {row['formula'] / 2**20:.0f} |")


def measured(megapixels: float) -> dict[str, float]:
    """One row."""
    from flows.cli.demo import demo_pictures

    with tempfile.TemporaryDirectory() as place:
        folder, width = Path(place) / "photos", round((megapixels * 1e6 * 4 / 3) ** 0.5)
        folder.mkdir()
        picture = Image.open(demo_pictures(Path(place) / "originals")[0]).convert("RGB").resize((width, width * 3 // 4))
        largest = 0
        for number in range(PICTURES):
            file = folder / f"{number}.jpg"
            picture.save(file, quality=90, comment=f"{number}")
            largest = max(largest, file.stat().st_size)
        said: dict[str, float] = answer_of("benchmarks.memory.worker_memory", "--label", folder)
    return {"megapixels": megapixels, **said, "formula": worker_memory(largest, picture.width * picture.height)}


def labelled_here(folder: Path) -> dict[str, float]:
    """Bytes of this process once its libraries and networks are loaded, and at most."""
    from fer_core.detect.registry import build
    from fer_core.models.store import resolve_model
    from fer_core.pipeline.label_images import process_images
    from fer_core.pipeline.worker_models import load_worker_models
    from fer_core.run.configuration import RunConfig
    from fer_core.run.shard_job import ImageRef
    from fer_core.storage.store import read_uri
    from fer_core.timing import Stopwatch

    config = RunConfig(
        run_id="memory",
        run_date="2026-01-01",
        source=str(folder),
        root=str(folder),
        detector="builtin",
        detector_identity=build("builtin").identity,
        model="tiny",
        model_name="tiny",
        model_digest=resolve_model("tiny").digest,
        device="cpu",
    )
    tools, before = load_worker_models(config), psutil.Process().memory_info().rss
    images = [ImageRef(str(file), file.stat().st_size, None, None) for file in sorted(folder.iterdir())]
    found = process_images(images, config, tools, Stopwatch(), on_progress=lambda _: None, read=read_uri)
    if {row.status for row in found.facts} != {"labeled"}:
        raise SystemExit(f"nothing was labelled, so there is nothing to measure: {found.facts}")
    return {"loaded": before, "peak": _peak()}


def _peak() -> int:
    """Of this process: what `getrusage` tells on Linux may be that of the process it was forked from."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
