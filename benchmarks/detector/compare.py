"""Recall, false positives, errors of the five points and of the head pose, and speed of each detector.

    python -m benchmarks.detector.compare [DATA] [--only NAME ...] [--json] [--curves FILE.png] [--misses FOLDER]
    python -m benchmarks.detector.compare [DATA] --only builtin [--weights FILE] [--threshold 0.4]    # what is being trained

DATA (default ../shared/data) has photos/boxes_xyxy.json, photos/afw, photos/helen5 and detectors/. AFW's pictures are resized to a
longest side of 640 px first, the others are used unchanged. A face is found where a box overlaps it by an IoU of 0.4 (or 0.5), one box
for one face. Sizes are the shorter side of a box; boxes below 16 px are ignored, as labelling ignores them.

Many boxes without a match are faces without annotation. A box counts as false only if neither YuNet at 0.6 nor SCRFD 2.5G at 0.5 finds it
at IoU 0.4, so boxes of these two never count as false above those scores. Every detector runs at the shipped threshold of labelling.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch

from benchmarks.detector import figures
from benchmarks.detector import misses as detector_misses
from benchmarks.detector.contenders import NAMES, Contender, Found, Speed, contenders, find, speeds
from benchmarks.detector.curves import LEAST, Panel, curve, curves_png
from benchmarks.detector.figures import GOALS, LOOSE, STRICT, Judged, Row
from benchmarks.detector.table import table
from benchmarks.detector.truth import AFW_SIDE, Floats, Scene, Truth, kept, load, shorter_sides
from fer_core.detect.base import Detector
from fer_core.detect.builtin.weights import SHIPPED
from fer_core.errors import DetectorError
from fer_core.types import Faces

MIN_FACE_PX: Final = 16
WITNESSES: Final = {"yunet": 0.6, "scrfd_2.5g": 0.5}
"""Detector -> score from which its box confirms a face without annotation."""
EVERYTHING: Final = 0.02
"""Score threshold for the curves."""
EVERYTHING_OURS: Final = 0.15
"""The same for the built-in detector, which looks twice at everything that may reach its threshold: hundreds of places at a lower one."""


@dataclass(frozen=True, slots=True)
class WitnessBoxes:
    """(K, 4) boxes of the witnesses, scene by scene."""

    afw: list[Floats]
    photographs: list[Floats]


@dataclass(frozen=True, slots=True)
class Result:
    """One detector, held against what was annotated."""

    afw: list[Judged]
    photographs: list[Judged]


def witness_boxes(witnesses: Sequence[tuple[float, Sequence[Faces]]], count: int) -> list[Floats]:
    """The score from which each witness counts and what it found in each of `count` scenes -> (K, 4) boxes for each scene."""
    boxes: list[list[Floats]] = [[np.zeros((0, 4), np.float32)] for _ in range(count)]
    for least, found in witnesses:
        for scene, faces in zip(boxes, found, strict=True):
            scene.append(faces.boxes[faces.scores >= least])
    return [np.concatenate(scene) for scene in boxes]


def judged(truth: Truth, found: Found, vouched: WitnessBoxes) -> Result:
    """Scene by scene, without the boxes that labelling ignores."""

    def over(scenes: Sequence[Scene], faces: Sequence[Faces], boxes: Sequence[Floats]) -> list[Judged]:
        return [figures.judge(scene, kept(seen, MIN_FACE_PX), known) for scene, seen, known in zip(scenes, faces, boxes, strict=True)]

    return Result(over(truth.afw, found.afw, vouched.afw), over(truth.photographs, found.photographs, vouched.photographs))


def row(contender: Contender, truth: Truth, found: Found, result: Result, speed: Speed) -> Row:
    """All figures of one detector."""
    afw, photographs = (truth.afw, result.afw), (truth.photographs, result.photographs)
    missed, errors = figures.point_errors(truth.helen, found.helen)
    return Row(
        detector=contender.name,
        identity=found.identity,
        score_threshold=contender.score_threshold,
        afw_recall_iou50=figures.recall(*afw, STRICT),
        afw_recall_iou40=figures.recall(*afw, LOOSE),
        afw_unmatched_per_image=sum(int(seen.unmatched.sum()) for seen in result.afw) / len(truth.afw),
        afw_false_per_image=sum(int(seen.false.sum()) for seen in result.afw) / len(truth.afw),
        photos_recall_20px_iou40=figures.recall(*photographs, LOOSE, 20),
        photos_recall_20px_iou50=figures.recall(*photographs, STRICT, 20),
        photos_recall_40px_iou40=figures.recall(*photographs, LOOSE, 40),
        photos_recall_40px_iou50=figures.recall(*photographs, STRICT, 40),
        photos_unmatched_per_image=sum(int(seen.unmatched.sum()) for seen in result.photographs) / len(truth.photographs),
        photos_false_per_image=sum(int(seen.false.sum()) for seen in result.photographs) / len(truth.photographs),
        eye_error=figures.mean(figures.eye_errors(*afw)),
        yaw_error_deg=figures.mean(figures.yaw_errors(*afw)),
        helen_point_error=figures.mean(errors),
        helen_missed=len(missed),
        images_per_second=speed.images_per_second,
        images_per_cpu_second=speed.images_per_cpu_second,
    )


def lowered(listed: Mapping[str, Contender], found: Mapping[str, Found], truth: Truth) -> dict[str, Found]:
    """Every detector once more, at a very low threshold; the cascade, which has none, as it was."""
    low = {}
    for name, before in found.items():
        lowest = EVERYTHING_OURS if name == "builtin" else EVERYTHING
        low[name] = before if listed[name].score_threshold is None else find(listed[name].at(lowest), truth, helen=False)
        print(f"ran {name} at {lowest}", file=sys.stderr)
    return low


def panels(truth: Truth, results: Mapping[str, Result], low: Mapping[str, Result]) -> tuple[Panel, Panel]:
    """Curves of what was found at very low thresholds, with the shipped ones to be marked."""
    faces = sum(len(scene.boxes) for scene in truth.afw)
    large = sum(int(np.count_nonzero(shorter_sides(scene.boxes) >= LEAST)) for scene in truth.photographs)
    return (
        Panel(
            f"AFW at {AFW_SIDE} px: {faces} faces in {len(truth.afw)} pictures",
            {name: curve(truth.afw, seen.afw) for name, seen in low.items()},
            {name: curve(truth.afw, results[name].afw) for name in low},
        ),
        Panel(
            f"photographs: {large} faces of at least {LEAST} px in {len(truth.photographs)} pictures",
            {name: curve(truth.photographs, seen.photographs, LEAST) for name, seen in low.items()},
            {name: curve(truth.photographs, results[name].photographs, LEAST) for name in low},
        ),
    )


def draw_misses(truth: Truth, found: Found, result: Result, folder: Path) -> None:
    """One detector's pictures and sheets."""
    missed, _ = figures.point_errors(truth.helen, found.helen)
    sets = (("afw", truth.afw, result.afw, 0.0), ("photographs", truth.photographs, result.photographs, float(LEAST)))
    detector_misses.write(folder, sets, [(truth.helen[number], found.helen[number]) for number in missed])


def told(witnesses: Sequence[str]) -> tuple[str, str]:
    """What has to be known to read the curves."""
    others = " or ".join(f"{name} at {WITNESSES[name]:g}" for name in witnesses) or "no witness, for there is none,"
    return (
        f"False: a box that matches no annotated face and no box of {others} (IoU {LOOSE:g}). What only a witness finds does not count.",
        "Large open marks: the thresholds named below.",
    )


def written(rows: Sequence[Row], witnesses: Sequence[str], skipped: Mapping[str, str]) -> str:
    """One JSON object; null where there was nothing to measure."""
    cells = [{name: None if _nan(value) else value for name, value in asdict(row).items()} for row in rows]
    goals = {field: {"floor": floor, "goal": goal} for field, (floor, goal) in GOALS.items()}
    told = {"detectors": cells, "goals": goals, "witnesses": {name: WITNESSES[name] for name in witnesses}, "skipped": skipped}
    return json.dumps(told, indent=1, allow_nan=False)


def _nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def built(listed: Mapping[str, Contender], names: Sequence[str]) -> tuple[dict[str, Detector], dict[str, str]]:
    """The detectors that can be had here, and for the others why not."""
    detectors, skipped = {}, {}
    for name in names:
        try:
            detectors[name] = listed[name].build()
        except DetectorError as error:
            skipped[name] = str(error)
            print(f"skipped {name}: {error}", file=sys.stderr)
    return detectors, skipped


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}; may be repeated")
    parser.add_argument("--weights", type=Path, default=SHIPPED, metavar="FILE", help="another weights file of the built-in detector")
    parser.add_argument("--threshold", type=float, metavar="SCORE", help="another threshold of the built-in detector")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--curves", type=Path, metavar="FILE.png", help="draw precision over recall")
    parser.add_argument("--misses", type=Path, metavar="FOLDER", help="draw what was found, missed and invented, and sheets of it")
    return parser.parse_args()


def main() -> int:
    """See the module's text."""
    options = _options()
    if not (options.data / "photos" / "boxes_xyxy.json").is_file():
        print(f"no photographs in {options.data}", file=sys.stderr)
        return 1
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    truth = load(options.data)
    listed = contenders(options.data / "detectors", options.weights, options.threshold)
    asked = [name for name in NAMES if not options.only or name in options.only]
    every, skipped = built(listed, [name for name in NAMES if name in asked or name in WITNESSES])
    found: dict[str, Found] = {}
    for name, detector in every.items():
        found[name] = find(detector, truth, helen=name in asked)
        print(f"ran {name}", file=sys.stderr)
    witnesses = [name for name in WITNESSES if name in found]
    vouched = WitnessBoxes(
        witness_boxes([(WITNESSES[name], found[name].afw) for name in witnesses], len(truth.afw)),
        witness_boxes([(WITNESSES[name], found[name].photographs) for name in witnesses], len(truth.photographs)),
    )
    detectors = {name: detector for name, detector in every.items() if name in asked}
    results = {name: judged(truth, found[name], vouched) for name in detectors}
    speed = speeds(detectors, [scene.pixels for scene in truth.afw])
    rows = [row(listed[name], truth, found[name], results[name], speed[name]) for name in detectors]
    print(written(rows, witnesses, skipped) if options.json else table(rows, witnesses), flush=True)
    for name in detectors if options.misses else ():
        draw_misses(truth, found[name], results[name], options.misses / name)
    if options.curves and detectors:
        low = {
            name: judged(truth, seen, vouched) for name, seen in lowered(listed, {name: found[name] for name in detectors}, truth).items()
        }
        thresholds = {name: listed[name].score_threshold for name in low}
        curves_png(panels(truth, results, low), thresholds, told(witnesses), options.curves)
    return 0


if __name__ == "__main__":
    sys.exit(main())
