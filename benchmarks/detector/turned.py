"""Pictures that lie on their side or head: how many are labelled as when they are upright, before and after, and what it costs.

    python -m benchmarks.detector.turned DATA [--detector builtin] [--detector yunet] [--set muxspace] [--pictures 100] [--gallery FILE.png]

DATA has muxspace/, photos/afw, photos/helen5 and detectors/. Each picture is turned by 0, 90, 180 and 270 degrees and passes both rules in
turns; processor time of one thread, of detection, alignment, pose and expression. `before` finds upright faces only.
The label of a picture is that of its largest face. Reference is the label of the upright picture before, where it needs no review: the
same label is right; another one that is not marked for review is wrong and unmarked. Brackets hold Wilson's 95 % intervals.
muxspace: N happy and N neutral pictures of identities that the detector was not trained on. `no faces`: the largest windows of AFW's
photographs without a face.
Prints Markdown; --gallery draws turned pictures with what was found, and the crops.
"""

import argparse
import csv
import hashlib
import io
import json
import math
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.accuracy.muxspace import TEST_SHARE
from benchmarks.common.turns import in_turn
from fer_core.align.face_extractor import CpuFaceExtractor, ExtractedFaces, FaceExtractor
from fer_core.align.quality import assess
from fer_core.align.turning_extractor import TurningExtractor
from fer_core.decode.min_face import DEFAULT, Look, MinFace
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.detect.quarter_turn import turned_picture
from fer_core.detect.scrfd import Scrfd
from fer_core.detect.yunet import YuNet
from fer_core.labels import EXPRESSIONS
from fer_core.predict.base import FacePredictor
from fer_core.predict.predictor import load_predictor
from fer_core.quality_thresholds import QualityRule
from fer_core.timing import Stopwatch

Pixels = NDArray[np.uint8]
SETS: Final = ("muxspace", "afw", "helen", "no faces")
DETECTORS: Final = ("builtin", "yunet", "scrfd_500m", "scrfd_2.5g")
BEFORE, AFTER = "before", "after"
CLOCKWISE: Final = (0, 90, 180, 270)
SMALLEST_WINDOW: Final = 200
DRAWS: Final = 3000
GALLERY_SIDE: Final = 220


@dataclass(frozen=True, slots=True)
class Label:
    """Of the largest face of a picture."""

    expression: str
    needs_review: bool


@dataclass(slots=True)
class Sums:
    """Over the pictures of a set, turned alike, under one rule."""

    seconds: float = 0.0
    pictures: int = 0
    found: int = 0
    referred: int = 0
    same: int = 0
    wrong: int = 0
    faces: list[ExtractedFaces] = field(default_factory=list)

    def add(self, found: ExtractedFaces, label: Label | None, reference: Label | None, seconds: float) -> None:
        """One picture. reference: of the upright one, None where it has none that counts."""
        self.pictures += 1
        self.seconds += seconds
        self.found += label is not None
        self.faces.append(found)
        if reference is None:
            return
        self.referred += 1
        if label is not None:
            self.same += label.expression == reference.expression
            self.wrong += label.expression != reference.expression and not label.needs_review


def wilson(hits: int, count: int) -> str:
    """`97.8 % (94.5-99.1)`: a share with its 95 % interval."""
    if not count:
        return "-"
    z, share = 1.96, hits / count
    middle, spread = share + z * z / (2 * count), z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low, high = ((middle + sign * spread) / (1 + z * z / count) for sign in (-1, 1))
    return f"{100 * share:.1f} % ({100 * max(low, 0):.1f}-{100 * min(high, 1):.1f})"


def muxspace(data: Path, count: int) -> list[Pixels]:
    """So many happy and so many neutral pictures of `test` identities."""
    pictures, taken = list[Pixels](), dict.fromkeys(("happiness", "neutral"), 0)
    with zipfile.ZipFile(data / "muxspace" / "images.zip") as archive, (data / "muxspace" / "labels.csv").open(newline="") as table:
        members = {Path(member).name: member for member in archive.namelist()}
        for row in csv.DictReader(table):
            tested = int(hashlib.sha256(row["identity"].encode()).hexdigest()[:8], 16) < TEST_SHARE * 2**32
            if tested and taken.get(row["expression"], count) < count and row["image"] in members:
                taken[row["expression"]] += 1
                pictures.append(read(io.BytesIO(archive.read(members[row["image"]]))))
    return pictures


def read(file: Path | io.BytesIO) -> Pixels:
    """RGB, as it lies."""
    with Image.open(file) as opened:
        return np.array(opened.convert("RGB"), np.uint8)


def without_faces(folder: Path) -> list[Pixels]:
    """Of each photograph the largest of many drawn windows that is far from each annotated face."""
    drawn, windows = np.random.default_rng(0), list[Pixels]()
    for name, known in json.loads((folder / "annotations.json").read_text()).items():
        pixels, boxes = read(folder / name), np.array(known["boxes_xyxy"], np.float64).reshape(-1, 4)
        reach = 0.6 * (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True)
        best = largest_window(pixels, np.concatenate([boxes[:, :2] - reach, boxes[:, 2:] + reach], axis=1), drawn)
        windows += [] if best is None else [best]
    return windows


def largest_window(pixels: Pixels, boxes: NDArray[np.float64], drawn: np.random.Generator) -> Pixels | None:
    """None where no window was drawn that meets no box."""
    height, width = pixels.shape[:2]
    best: tuple[int, Pixels] | None = None
    for _ in range(DRAWS):
        across = int(drawn.integers(min(SMALLEST_WINDOW, width), width + 1))
        down = int(min(height, across * drawn.uniform(2 / 3, 3 / 2)))
        left, top = int(drawn.integers(0, width - across + 1)), int(drawn.integers(0, height - down + 1))
        meets = (boxes[:, :2] < [left + across, top + down]).all(axis=1) & (boxes[:, 2:] > [left, top]).all(axis=1)
        if min(across, down) >= SMALLEST_WINDOW and not meets.any() and (best is None or across * down > best[0]):
            best = across * down, np.ascontiguousarray(pixels[top : top + down, left : left + across])
    return best and best[1]


def load(data: Path, name: str, count: int) -> list[Pixels]:
    """The pictures of a set."""
    photos = data / "photos"
    if name == "muxspace":
        return muxspace(data, count)
    if name == "no faces":
        return without_faces(photos / "afw")
    folder, listed = (photos / "afw", "annotations.json") if name == "afw" else (photos / "helen5", "five_points.json")
    return [read(folder / file) for file in json.loads((folder / listed).read_text())]


def detector(name: str, files: Path) -> BuiltinDetector | YuNet | Scrfd:
    """As labelling has it."""
    if name == "builtin":
        return BuiltinDetector()
    return YuNet(files / "face_detection_yunet_2023mar.onnx") if name == "yunet" else Scrfd(files / f"{name}_kps.onnx")


def labelled(found: ExtractedFaces, predictor: FacePredictor) -> Label | None:
    """Of the largest face, as a run labels all of them."""
    if not len(found.faces):
        return None
    answers, quality = predictor.predict(found.crops), assess(found.faces, found.crops)
    review = answers.needs_review | QualityRule().flags(quality)
    largest = int(np.prod(found.faces.boxes[:, 2:] - found.faces.boxes[:, :2], axis=1).argmax())
    return Label(EXPRESSIONS[answers.expression[largest]], bool(review[largest]))


def measure(pictures: Sequence[Pixels], rules: Mapping[str, FaceExtractor], predictor: FacePredictor) -> dict[tuple[str, int], Sums]:
    """Both rules on each picture in turns, turned by each of `CLOCKWISE`."""
    sums = {(rule, degrees): Sums() for degrees in CLOCKWISE for rule in rules}
    smallest = MinFace.parse(DEFAULT)

    def timed(rule: str, pixels: Pixels) -> tuple[ExtractedFaces, Label | None, float]:
        longest, shortest = max(pixels.shape[:2]), min(pixels.shape[:2])
        look, start = Look(smallest.pixels(longest), smallest.finest_side(longest, shortest)), time.process_time()
        (found,) = rules[rule].extract([pixels], [look], Stopwatch())
        return found, labelled(found, predictor), time.process_time() - start

    for number, upright in enumerate(pictures):
        reference: Label | None = None
        for quarter, degrees in enumerate(CLOCKWISE):
            pixels = turned_picture(upright, -quarter)
            for rule, (found, label, seconds) in in_turn({rule: partial(timed, rule, pixels) for rule in rules}, number).items():
                if degrees == 0 and rule == BEFORE and label is not None and not label.needs_review:
                    reference = label
                sums[rule, degrees].add(found, label, reference if degrees else None, seconds)
    return sums


def table(name: str, sums: Mapping[tuple[str, int], Sums]) -> str:
    """Markdown rows: one a turn and rule."""
    lines = []
    for (rule, degrees), each in sums.items():
        milliseconds, added = 1000 * each.seconds / each.pictures, each.seconds / sums[BEFORE, degrees].seconds - 1
        turns = sum(1 for one in each.faces if len(one.faces) and one.turns == degrees // 90) / max(each.found, 1)
        cells = [name, rule, f"{degrees}", f"{each.found} of {each.pictures}", f"{100 * turns:.1f} %"]
        cells += [wilson(each.same, each.referred), wilson(each.wrong, each.referred), f"{milliseconds:.1f} ({100 * added:+.1f} %)"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def gallery(pictures: Sequence[Pixels], faces: Mapping[int, Sequence[ExtractedFaces]], file: Path) -> None:
    """A row a picture: turned by each of `CLOCKWISE` with box and points, and the crop beside it."""
    rows = [
        np.concatenate([_cell(pixels, q, faces[d][number]) for q, d in enumerate(CLOCKWISE)], axis=1)
        for number, pixels in enumerate(pictures)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(file)


def _cell(upright: Pixels, quarter: int, found: ExtractedFaces) -> Pixels:
    drawn = turned_picture(upright, -quarter).copy()
    thick = max(1, max(drawn.shape[:2]) // 160)
    for box, points in zip(found.faces.boxes.astype(int).tolist(), found.faces.points.astype(int).tolist(), strict=True):
        cv2.rectangle(drawn, box[:2], box[2:], (255, 220, 0), thick)
        for number, point in enumerate(points):
            cv2.circle(drawn, point, 2 * thick, (255, 60, 60) if number < 2 else (60, 255, 60), -1)
    scale = GALLERY_SIDE / max(drawn.shape[:2])
    small = cv2.resize(drawn, (round(drawn.shape[1] * scale), round(drawn.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    cell = np.full((GALLERY_SIDE + 8, GALLERY_SIDE + 120, 3), 255, np.uint8)
    cell[: small.shape[0], : small.shape[1]] = small
    if len(found.crops):
        cell[:112, GALLERY_SIDE + 4 : GALLERY_SIDE + 116] = found.crops[0]
    return cell


def main() -> None:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--detector", action="append", choices=DETECTORS, help="default: builtin")
    parser.add_argument("--set", action="append", choices=SETS, help="default: all of them")
    parser.add_argument(
        "--pictures", type=int, default=100, metavar="N", help="of muxspace, happy and neutral each; at most so many of the others"
    )
    parser.add_argument("--gallery", type=Path, metavar="FILE.png", help="draw the first pictures of the last set")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    predictor = load_predictor("tiny", "cpu")
    head = "| detector | set | rule | turned by | with a face | way up found | same label | another, unmarked | ms a picture |"
    print(f"{head}\n|---|---|---|---:|---:|---:|---:|---:|---:|", flush=True)
    for name in args.detector or ["builtin"]:
        found = detector(name, args.data / "detectors")
        upright = CpuFaceExtractor(found, found.largest_side)
        rules: dict[str, FaceExtractor] = {BEFORE: upright, AFTER: TurningExtractor(upright, found.upright)}
        for each in args.set or SETS:
            pictures = load(args.data, each, args.pictures)[: 2 * args.pictures]
            sums = measure(pictures, rules, predictor)
            print(table(f"{name} | {each}", sums), flush=True)
            if args.gallery:
                gallery(pictures[:12], {degrees: sums[AFTER, degrees].faces for degrees in CLOCKWISE}, args.gallery)


if __name__ == "__main__":
    main()
