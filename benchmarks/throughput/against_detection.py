"""The whole job against decoding in full and YuNet alone, in turns on the same pictures.

    python -m benchmarks.throughput.against_detection PHOTOS YUNET.onnx --megapixels 0.7 --side 640 --to FIGURES
    python -m benchmarks.throughput.against_detection COMPOSED YUNET.onnx --as-they-are --copies 3 --side 1280 --to FIGURES

The script (detection_script.py) is one process with the threads that OpenCV takes by itself; it only detects faces. ferflow labels
them as well: `ferflow label` with one worker a core; its steady rate counts from the first shard to the commit. Photographs are repeated
until there are --images of them; with --as-they-are the files themselves are copied, each with a comment of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.common.pictures import PICTURES, repeated
from benchmarks.common.record import machine, write_record
from benchmarks.common.turns import in_turn
from benchmarks.throughput.whole_job import measured

SCRIPT = "benchmarks.throughput.detection_script"
COMMENT = b"\xff\xfe"
"""JPEG marker of a comment, which may follow the first two bytes of a file."""


def copied(source: Path, folder: Path, copies: int) -> Path:
    """Every JPEG file of a folder `copies` times, each with a digest of its own."""
    folder.mkdir(parents=True)
    for file in sorted(file for file in source.rglob("*") if file.suffix.lower() in PICTURES - {".png"}):
        data = file.read_bytes()
        for number in range(copies):
            note = f"{number}".encode()
            (folder / f"{file.stem}-{number}.jpg").write_bytes(data[:2] + COMMENT + (len(note) + 2).to_bytes(2, "big") + note + data[2:])
    return folder


def one_round(pictures: Path, options: argparse.Namespace, number: int) -> dict[str, Any]:
    """Both once; every other round begins with ferflow."""
    with tempfile.TemporaryDirectory() as place:
        turns = {
            "script": lambda: script(pictures, options.yunet, options.side),
            "ferflow": lambda: measured(str(pictures), Path(place) / "labels", options.detector, options.workers),
        }
        done = in_turn(turns, number)
    theirs, ours = done["script"]["images"] / done["script"]["seconds"], done["ferflow"]["steady_images_per_second"]
    return {**done, "images_per_second": {"script": theirs, "ferflow": ours}, "ratio": ours / theirs}


def script(pictures: Path, yunet: Path, side: int) -> dict[str, Any]:
    """What the script prints."""
    command = [sys.executable, "-W", "ignore", "-m", SCRIPT, str(pictures), str(yunet), "--side", str(side)]
    said: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return said


def markdown(figures: dict[str, Any]) -> str:
    """One line a round, and the medians."""
    about = figures["machine"]
    lines = [
        f"{about['processor']}, {about['cores']} cores, {about['instructions']}, {about['matrix_gflops']:.0f} GFLOP/s a core by matrix "
        f"products; {figures['images']} pictures, YuNet at {figures['side']} px, `{figures['detector']}`.",
        "",
        "| round | script, images/s | faces | ferflow, images/s | faces | ratio |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for number, one in enumerate(figures["rounds"], start=1):
        speed = one["images_per_second"]
        faces = one["script"]["faces"], one["ferflow"]["faces"]
        lines.append(f"| {number} | {speed['script']:.1f} | {faces[0]:,} | {speed['ferflow']:.1f} | {faces[1]:,} | {one['ratio']:.2f} |")
    return "\n".join([*lines, "", f"Median ratio: {median(one['ratio'] for one in figures['rounds']):.2f}"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure in turns, print, and write with --to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("yunet", type=Path)
    parser.add_argument("--side", type=int, required=True, help="longest side that the script's YuNet gets")
    parser.add_argument("--megapixels", type=float, default=0.7)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--as-they-are", action="store_true", help="copy the JPEG files instead of resizing them")
    parser.add_argument("--copies", type=int, default=3, help="of each file with --as-they-are")
    parser.add_argument("--detector", default="builtin")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--to", type=Path, help="folder for the figures")
    args = parser.parse_args(arguments)
    about = machine()
    with tempfile.TemporaryDirectory() as place:
        to = Path(place) / "pictures"
        pictures = copied(args.photos, to, args.copies) if args.as_they_are else repeated(args.photos, to, args.images, args.megapixels)
        rounds = [one_round(pictures, args, number) for number in range(args.rounds)]
        images = len(list(pictures.iterdir()))
    figures = {"images": images, "side": args.side, "detector": args.detector, "rounds": rounds}
    print(markdown({**figures, "machine": about}))
    if args.to:
        write_record(args.to, "against_detection" + ("_as_they_are" if args.as_they_are else ""), figures, about)


if __name__ == "__main__":
    main()
