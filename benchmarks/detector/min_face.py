"""What a smallest face costs: recall and images a second of processor time, decoding and aligned crops included.

    python -m benchmarks.detector.composed DATA COMPOSED
    python -m benchmarks.detector.min_face DATA COMPOSED [--detector builtin] [--detector yunet] [--set composed] [--values 1% 20 40 2% 4%]

DATA has photos/afw (IoU 0.5), photos/boxes_xyxy.json (IoU 0.4) and detectors/. Each picture passes all values and the script beside them
in turn, so that other work on the machine changes all alike; processor time is measured, of one thread. `earlier` is the rule of releases
without --min-face: faces from 16 px on, the picture at its own size. The script decodes in full with OpenCV and runs its YuNet at 640 px
and at 1280 px, without crops. Prints Markdown.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common.opencv_yunet import OpenCvYuNet
from benchmarks.detector.composed import annotated
from benchmarks.detector.figures import LOOSE, STRICT, matches
from benchmarks.detector.truth import Floats, shorter_sides
from fer_core.align.face_extractor import CpuFaceExtractor, refine_full_size
from fer_core.align.face_search import FaceSearch
from fer_core.decode.decoder import DecodeLimits, decode
from fer_core.decode.min_face import DEFAULT, MinFace
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.detect.yunet import YuNet
from fer_core.pipeline.worker_models import decode_side
from fer_core.timing import Stopwatch
from fer_core.types import Picture

SETS: Final = ("afw", "wider", "composed")
EARLIER: Final = "earlier"
EARLIER_PX: Final = 16.0
VALUES: Final = (DEFAULT, "20", "40", "2%", "4%")
LEAST_ANNOTATED: Final = 20.0
"""Annotated faces whose shorter side is below do not count."""
SCRIPT_SIDES: Final = (640, 1280)

Boxes = list[list[float]]
Work = Callable[[bytes], Floats]
"""A file's bytes -> (N, 4) boxes in its pixels, by falling score."""


@dataclass(frozen=True, slots=True)
class PictureSet:
    """Files with annotated boxes."""

    name: str
    overlap: float
    """IoU from which a face is found."""
    pictures: Sequence[tuple[Path, Boxes]]


@dataclass(slots=True)
class Sums:
    """Over the pictures of a set."""

    found: int = 0
    annotated: int = 0
    boxes: int = 0
    seconds: float = 0.0
    asked_found: int = 0
    asked: int = 0
    pictures: int = 0

    def row(self, name: str) -> str:
        """A line of the table."""
        asked = f"{self.asked_found / self.asked:.3f} of {self.asked}" if self.asked else "-"
        recall, rate = self.found / max(self.annotated, 1), self.pictures / max(self.seconds, 1e-9)
        return f"| {name} | {recall:.3f} | {asked} | {self.boxes:,} | {rate:.1f} |"


def labelling(detector: CpuFaceExtractor, search: FaceSearch) -> Work:
    """As a worker does it, without the network that labels."""
    watch = Stopwatch()

    def work(data: bytes) -> Floats:
        picture = decode(data, DecodeLimits(), search.reduction)
        (extracted,) = detector.extract([picture.pixels], [search.look(picture)], watch)

        def again(reduction: int, *, luma: bool) -> Picture:
            return decode(data, DecodeLimits(), lambda longest, shortest: reduction, luma=luma)

        return refine_full_size(extracted, picture, search, again, watch).faces.boxes

    return work


def script(file: Path, side: int) -> Work:
    """What one would write in ten lines."""
    detector = OpenCvYuNet(file, side)

    def work(data: bytes) -> Floats:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        found = detector(np.asarray(picture, np.uint8))
        found = found[np.argsort(-found[:, 14], kind="stable")]
        return np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], axis=1)

    return work


def works(files: Path, detectors: Sequence[str], values: Sequence[str]) -> dict[str, Work]:
    """By the name of the line."""
    yunet = files / "face_detection_yunet_2023mar.onnx"
    out: dict[str, Work] = {f"script, YuNet at {side}": script(yunet, side) for side in SCRIPT_SIDES}
    for name in detectors:
        detector = BuiltinDetector() if name == "builtin" else YuNet(yunet)
        extractor = CpuFaceExtractor(detector, decode_side(detector))
        for value in (EARLIER, *values):
            search = FaceSearch(None if value == EARLIER else MinFace.parse(value), EARLIER_PX, decode_side(detector))
            out[f"{name}, {value}"] = labelling(extractor, search)
    return out


def measure(pictures: PictureSet, every: Mapping[str, Work]) -> dict[str, Sums]:
    """All works on each picture in turn, beginning with another one each time."""
    sums = {name: Sums() for name in every}
    names = list(every)
    for number, (file, boxes) in enumerate(pictures.pictures):
        data = file.read_bytes()
        truth = np.array(boxes, np.float64).reshape(-1, 4)
        truth = truth[shorter_sides(truth) >= LEAST_ANNOTATED]
        for name in names[number % len(names) :] + names[: number % len(names)]:
            start = time.process_time()
            found = every[name](data)
            sums[name].seconds += time.process_time() - start
            _count(sums[name], truth, matches(truth, found, pictures.overlap) >= 0, _asked(name, file))
            sums[name].boxes += len(found)
    return sums


def _count(sums: Sums, truth: NDArray[np.float64], hit: NDArray[np.bool_], asked: float | None) -> None:
    sums.pictures += 1
    sums.found += int(hit.sum())
    sums.annotated += len(truth)
    if asked is not None:
        large = shorter_sides(truth) >= asked
        sums.asked += int(large.sum())
        sums.asked_found += int(hit[large].sum())


def _asked(name: str, file: Path) -> float | None:
    """Pixels of the smallest face that the line asks for in a picture; None for a script and for `earlier`."""
    value = name.rpartition(", ")[2]
    if value == EARLIER or value.startswith("YuNet at"):
        return None
    with Image.open(file) as opened:
        return MinFace.parse(value).pixels(max(opened.size))


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("composed", type=Path)
    parser.add_argument("--detector", action="append", choices=("builtin", "yunet"), help="default: builtin")
    parser.add_argument("--set", action="append", choices=SETS, help="default: all of them")
    parser.add_argument("--values", nargs="+", default=list(VALUES))
    args = parser.parse_args()
    cv2.setNumThreads(1)
    known = annotated(args.data)
    composed = json.loads((args.composed / "boxes_xyxy.json").read_text())
    sets = (
        PictureSet("afw", STRICT, [one for one in known if one[0].parent.name == "afw"]),
        PictureSet("wider", LOOSE, [one for one in known if one[0].parent.name != "afw"]),
        PictureSet("composed", LOOSE, [(args.composed / name, boxes) for name, boxes in composed.items()]),
    )
    every = works(args.data / "detectors", args.detector or ["builtin"], args.values)
    for each in (one for one in sets if not args.set or one.name in args.set):
        print(f"\n{each.name}: {len(each.pictures)} pictures, IoU {each.overlap:g}\n")
        print(
            "| | recall, faces from 20 px | recall, faces as large as asked for | boxes | images/s of one core |\n|---|---:|---:|---:|---:|"
        )
        for name, sums in measure(each, every).items():
            print(sums.row(name), flush=True)


if __name__ == "__main__":
    main()
