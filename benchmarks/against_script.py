"""The whole job against the obvious script, in turns on the same photographs.

    python benchmarks/against_script.py PHOTOS YUNET.onnx [--images 2000] [--rounds 2] [--json FILE]

PHOTOS are repeated until there are as many as wanted, at half a megapixel, each copy with another quality and a comment of its
own, so that every file has its own digest. `ferflow label` runs with `builtin` and `tiny`; its steady rate counts from the first
shard to the commit, the script's from its first picture to its last row. Also timed, in one process on one core: decoding alone,
and decoding with detection.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
from PIL import Image
from whole_job import machine, measured, resized

from fer_core.decode import DecodeLimits, decode
from fer_core.detect.choice import build, resolve

SCRIPT = Path(__file__).with_name("obvious_script.py")
LIMITS = DecodeLimits(max_bytes=64 * 2**20, max_pixels=100_000_000)


def main() -> None:
    """Measure in turns and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("yunet", type=Path)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    about = machine()
    with tempfile.TemporaryDirectory() as place:
        folder = repeated(args.photos, Path(place) / "photos", args.images)
        rounds = [_round(folder, args, Path(place), number) for number in range(args.rounds)]
        alone = limits(folder)
    figures = {"machine": about, "rounds": rounds, "one_core": alone}
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(markdown(figures, args.workers))


def repeated(photos: Path, folder: Path, count: int) -> Path:
    """`count` JPEG files of half a megapixel."""
    folder.mkdir()
    pictures = [resized(Image.open(file).convert("RGB")) for file in sorted(photos.iterdir()) if file.suffix in {".jpg", ".jpeg", ".png"}]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        picture.save(folder / f"photo-{number:05d}.jpg", quality=85 + number // len(pictures) % 10, comment=f"{number}")
    return folder


def _round(folder: Path, args: argparse.Namespace, place: Path, number: int) -> dict[str, Any]:
    command = [sys.executable, str(SCRIPT), str(folder), str(args.yunet), "--to", str(place / f"{number}.parquet")]
    script = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    job = measured(str(folder), place / f"labels-{number}", "builtin", args.workers)
    return {"script": script, "job": job}


def limits(folder: Path, most: int = 200) -> dict[str, float]:
    """Images a second of one core: decoding alone, decoding with detection."""
    cv2.setNumThreads(1)
    detector = build(resolve("builtin"))
    files = [file.read_bytes() for file in sorted(folder.iterdir())[:most]]
    rates = {}
    for name, look in (("decode", lambda _: None), ("decode and detect", detector.detect)):
        start = time.perf_counter()
        for data in files:
            look(decode(data, LIMITS).pixels)
        rates[name] = len(files) / (time.perf_counter() - start)
    return rates


def markdown(figures: dict[str, Any], workers: int) -> str:
    """A line a round."""
    about = figures["machine"]
    lines = [
        f"{about['processor']}, {about['cores']} cores ({about['busy_before_percent']:.0f} % busy before), torch {about['torch']}.",
        "",
        f"| round | images | script, images/s | faces | ferflow, {workers} workers, images/s, once started | faces | times |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for number, one in enumerate(figures["rounds"], 1):
        script, job = one["script"], one["job"]
        rate = script["images"] / script["seconds"]
        steady = job["steady_images_per_second"]
        theirs, ours = f"{rate:.1f} | {script['faces']:,}", f"{steady:.1f} | {job['faces']:,}"
        lines.append(f"| {number} | {script['images']:,} | {theirs} | {ours} | {steady / rate:.2f} |")
    lines += ["", ", ".join(f"{name}: {rate:.1f} images/s on one core" for name, rate in figures["one_core"].items()) + "."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
