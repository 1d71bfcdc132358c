"""The whole job against the obvious script, in turns on the same pictures, and against decoding and detection alone.

    python -m benchmarks.throughput.against_script --photos FOLDER --yunet YUNET.onnx --to FIGURES
    python -m benchmarks.throughput.against_script --generated --to FIGURES   composed pictures, YuNet from `ferflow detectors pull yunet`

Photographs, also those in folders below, are repeated until there are --images of them at half a megapixel, each copy with another quality
and a comment of its own, so that every file has its own digest. `ferflow label` runs with `builtin` and `tiny`; its steady rate counts from
the first shard to the commit, the script's from its first picture to its last row, both without loading. Decoding alone and decoding with
detection alone run on all cores, one process each, after the last round. Writes against_script.json, or
against_script_generated.json, after every round; --resume goes on with the rounds that an interrupted call left out.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common.pictures import repeated, varied
from benchmarks.common.record import machine, write_record
from benchmarks.common.turns import in_turn
from benchmarks.throughput import alone
from benchmarks.throughput.all_cores import rate
from benchmarks.throughput.whole_job import measured
from fer_core.detect.registry import YUNET_FILE, folder

NAME, GENERATED = "against_script", "against_script_generated"
SCRIPT = "benchmarks.throughput.obvious_script"
ALONE = 400
"""Pictures that decoding and detection alone are measured on."""


def main() -> None:
    """Measure in turns and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--photos", type=Path, metavar="FOLDER")
    source.add_argument("--generated", action="store_true")
    parser.add_argument("--yunet", type=Path, help="YuNet's file (default: the one in the user's cache)")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="keep the rounds that the JSON file already has")
    parser.add_argument("--to", type=Path, required=True, metavar="FIGURES", help="folder for the JSON file")
    args = parser.parse_args()
    about, yunet = machine(), yunet_file(args.yunet)
    settings = {"source": "generated" if args.generated else "photographs", "images": args.images, "workers": args.workers}
    name = GENERATED if args.generated else NAME
    rounds = _kept(args.to / f"{name}.json", settings) if args.resume else []
    with tempfile.TemporaryDirectory() as place:
        to = Path(place) / "pictures"
        pictures = varied(to, args.images) if args.generated else repeated(args.photos, to, args.images)
        while len(rounds) < args.rounds:
            rounds.append(_round(pictures, yunet, args.workers, len(rounds)))
            write_record(args.to, name, {**settings, "rounds": rounds}, about)
        write_record(args.to, name, {**settings, "rounds": rounds, "alone": limits(pictures)}, about)


def yunet_file(given: Path | None) -> Path | None:
    """The file given, or the one in the user's cache; None, with a line that says so, where there is none."""
    file = given or folder() / YUNET_FILE
    if file.is_file():
        return file
    if given:
        raise SystemExit(f"no such file: {given}")
    print("no YuNet file (`ferflow detectors pull yunet`, or --yunet FILE): the obvious script cannot run, ferflow runs alone")
    return None


def _kept(file: Path, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Rounds of an earlier call with the same settings."""
    if not file.is_file():
        return []
    before = json.loads(file.read_text(encoding="utf-8"))
    return list(before["rounds"]) if all(before.get(key) == value for key, value in settings.items()) else []


def _round(pictures: Path, yunet: Path | None, workers: int, number: int) -> dict[str, Any]:
    """Both once; every other round begins with ferflow."""
    with tempfile.TemporaryDirectory() as place:
        turns: dict[str, Callable[[], dict[str, Any] | None]] = {
            "script": lambda: None if yunet is None else script(SCRIPT, pictures, yunet),
            "job": lambda: measured(str(pictures), Path(place) / "labels", "builtin", workers),
        }
        done = in_turn(turns, number)
    job, other = done["job"], done["script"]
    ours = job["steady_images_per_second"] if job else 0.0
    theirs = other["images"] / other["seconds"] if other else None
    return {**done, "images_per_second": {"ferflow": ours, "script": theirs}, "ratio": theirs and ours / theirs}


def script(module: str, pictures: Path, detector: Path) -> dict[str, Any]:
    """What one of the scripts says of itself."""
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-W", "ignore", "-m", module, str(pictures), str(detector), "--to", str(Path(place) / "rows.parquet")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def limits(pictures: Path, most: int = ALONE) -> dict[str, float]:
    """Images a second of all cores."""
    files = sorted(pictures.iterdir())
    chosen = [str(file) for file in files[:: max(1, len(files) // most)][:most]]
    return {"decode": rate(alone.decoding, chosen), "decode and detect": rate(alone.finding, chosen)}


if __name__ == "__main__":
    main()
