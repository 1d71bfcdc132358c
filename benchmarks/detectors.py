"""How many faces each detector finds, what it invents, how good its five points are and how fast it is.

    python benchmarks/detectors.py [DATA] [--json] [--misses FOLDER]

DATA (default ../shared/data) holds photos/boxes_xyxy.json, photos/afw, photos/helen5 and detectors/. A face is found where a box overlaps
it by an IoU of 0.4 (or 0.5), one box for one face. Sizes are the shorter side of the annotated box. Boxes with a shorter side below 16 px
are ignored, as labelling ignores them. Many boxes that match nothing are faces nobody annotated: look at the picture of the misses.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fer_core.detect.choice import build
from fer_core.detect.protocol import Detector, overlaps
from fer_core.types import Faces

MIN_FACE_PX = 16
FILES = ("yunet:face_detection_yunet_2023mar.onnx", "scrfd:scrfd_500m_kps.onnx", "scrfd:scrfd_2.5g_kps.onnx")


@dataclass(frozen=True, slots=True)
class Row:
    """One detector's figures."""

    detector: str
    identity: str
    recall_20px_iou40: float
    recall_20px_iou50: float
    recall_40px_iou40: float
    recall_40px_iou50: float
    unmatched_per_image: float
    afw_recall_iou40: float
    afw_recall_iou50: float
    afw_unmatched_per_image: float
    helen_missed: int
    """Of 120 faces."""
    point_error: float
    """Mean distance of the five points over the distance of the eyes, faces found only."""
    eye_error: float
    images_per_second: float
    """One thread, all pictures, without decoding."""


def read(file: Path) -> NDArray[np.uint8]:
    """RGB."""
    return np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), np.uint8)


def matches(truth: NDArray[np.floating], boxes: NDArray[np.floating], limit: float) -> NDArray[np.intp]:
    """For every true box the box that found it, or -1; best overlaps first, one for one."""
    overlap = overlaps(truth, boxes)
    found = np.full(len(truth), -1, np.intp)
    while overlap.size and overlap.max() >= limit:
        face, box = np.unravel_index(overlap.argmax(), overlap.shape)
        found[face] = box
        overlap[face], overlap[:, box] = 0, 0
    return found


class Measured:
    """One detector over one folder of boxed photographs."""

    def __init__(self, detector: Detector, folder: Path, truth: dict[str, NDArray[np.float64]]) -> None:
        self.truth, self.folder, self.seconds = truth, folder, 0.0
        self.faces: dict[str, Faces] = {}
        for name in truth:
            picture = read(folder / name)
            started = time.perf_counter()
            faces = detector.detect(picture)
            self.seconds += time.perf_counter() - started
            sides = faces.boxes[:, 2:] - faces.boxes[:, :2]
            self.faces[name] = faces.take(np.flatnonzero((sides >= MIN_FACE_PX).all(axis=1)))

    def recall(self, limit: float, min_side: float = 0) -> float:
        """Share of the true faces of at least `min_side` that were found."""
        hits = faces = 0
        for name, boxes in self.truth.items():
            large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) >= min_side
            hits += int((matches(boxes, self.faces[name].boxes, limit)[large] >= 0).sum())
            faces += int(large.sum())
        return hits / faces

    def unmatched(self) -> float:
        """Boxes a picture that found no annotated face."""
        extra = sum(
            len(self.faces[name]) - int((matches(boxes, self.faces[name].boxes, 0.4) >= 0).sum()) for name, boxes in self.truth.items()
        )
        return extra / len(self.truth)


def point_errors(detector: Detector, folder: Path) -> tuple[int, NDArray[np.float64], float, int]:
    """Faces missed, (N, 5) errors over the distance of the eyes, seconds and pictures on HELEN."""
    truth = {name: np.array(points) for name, points in json.loads((folder / "five_points.json").read_text()).items()}
    missed, errors, seconds = 0, [], 0.0
    for name, points in truth.items():
        picture = read(folder / name)
        started = time.perf_counter()
        faces = detector.detect(picture)
        seconds += time.perf_counter() - started
        middle = points.mean(axis=0)
        around = np.flatnonzero(((faces.boxes[:, :2] < middle) & (middle < faces.boxes[:, 2:])).all(axis=1))
        if len(around) == 0:
            missed += 1
            continue
        apart = np.hypot(*(faces.points[around[0]] - points).T)  # faces come by falling score
        errors.append(apart / np.hypot(*(points[1] - points[0])))
    return missed, np.array(errors).reshape(-1, 5), seconds, len(truth)


def measure(spec: str, name: str, data: Path) -> tuple[Row, Measured]:
    """All figures of one detector."""
    detector = build(spec)
    photos = data / "photos"
    boxed = {file: np.array(boxes) for file, boxes in json.loads((photos / "boxes_xyxy.json").read_text()).items()}
    annotated = json.loads((photos / "afw" / "annotations.json").read_text())
    wider = Measured(detector, photos, boxed)
    afw = Measured(detector, photos / "afw", {file: np.array(value["boxes_xyxy"]) for file, value in annotated.items()})
    missed, errors, seconds, pictures = point_errors(detector, photos / "helen5")
    row = Row(
        detector=name,
        identity=detector.identity,
        recall_20px_iou40=wider.recall(0.4, 20),
        recall_20px_iou50=wider.recall(0.5, 20),
        recall_40px_iou40=wider.recall(0.4, 40),
        recall_40px_iou50=wider.recall(0.5, 40),
        unmatched_per_image=wider.unmatched(),
        afw_recall_iou40=afw.recall(0.4),
        afw_recall_iou50=afw.recall(0.5),
        afw_unmatched_per_image=afw.unmatched(),
        helen_missed=missed,
        point_error=float(errors.mean()),
        eye_error=float(errors[:, :2].mean()),
        images_per_second=(len(boxed) + len(annotated) + pictures) / (wider.seconds + afw.seconds + seconds),
    )
    return row, wider


def drawn(measured: Measured) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Each photograph twice as large: found faces green, missed ones of at least 20 px red, boxes that match nothing yellow with scores."""
    for name, truth in measured.truth.items():
        canvas = cv2.cvtColor(cv2.resize(read(measured.folder / name), None, fx=2, fy=2), cv2.COLOR_RGB2BGR)
        faces = measured.faces[name]
        found = matches(truth, faces.boxes, 0.4)
        for box, match in zip(truth, found, strict=True):
            if match >= 0 or (box[2:] - box[:2]).min() >= 20:
                colour = (0, 200, 0) if match >= 0 else (0, 0, 255)
                low, high = ((int(x * 2), int(y * 2)) for x, y in box.reshape(2, 2))
                cv2.rectangle(canvas, low, high, colour, 2)
        for index in set(range(len(faces))) - set(found.tolist()):
            low, high = ((int(x * 2), int(y * 2)) for x, y in faces.boxes[index].reshape(2, 2))
            cv2.rectangle(canvas, low, high, (0, 220, 255), 2)
            cv2.putText(canvas, f"{faces.scores[index]:.2f}", low, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 220, 255), 2)
        yield name, np.asarray(canvas, np.uint8)


COLUMNS = ("20px .4/.5", "40px .4/.5", "extra", "AFW .4/.5", "extra", "HELEN lost", "points", "eyes", "img/s")


def table(rows: list[Row]) -> str:
    """One line a detector."""
    lines = [f"{'':<12}" + "".join(f"{column:>13}" for column in COLUMNS)]
    for row in rows:
        cells = (
            f"{row.recall_20px_iou40:.2f}/{row.recall_20px_iou50:.2f}",
            f"{row.recall_40px_iou40:.2f}/{row.recall_40px_iou50:.2f}",
            f"{row.unmatched_per_image:.1f}",
            f"{row.afw_recall_iou40:.3f}/{row.afw_recall_iou50:.3f}",
            f"{row.afw_unmatched_per_image:.2f}",
            f"{row.helen_missed}/120",
            f"{row.point_error:.3f}",
            f"{row.eye_error:.3f}",
            f"{row.images_per_second:.1f}",
        )
        lines.append(f"{row.detector:<12}" + "".join(f"{cell:>13}" for cell in cells))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", action="store_true", help="one JSON list on stdout")
    parser.add_argument("--misses", type=Path, metavar="FOLDER", help="write the photographs with what was found, missed and invented")
    options = parser.parse_args()
    if not (options.data / "photos" / "boxes_xyxy.json").is_file():
        print(f"no photographs in {options.data}", file=sys.stderr)
        return 1
    cv2.setNumThreads(1)
    rows = []
    for named in ("builtin", *FILES):
        kind, _, file = named.partition(":")
        path = options.data / "detectors" / file
        if file and not path.is_file():
            print(f"skipped, no file: {path}", file=sys.stderr)
            continue
        name = file.removesuffix("_kps.onnx") if kind == "scrfd" else kind
        row, measured = measure(f"{kind}:{path}" if file else kind, name, options.data)
        rows.append(row)
        print(f"measured {name}", file=sys.stderr)
        if options.misses:
            options.misses.mkdir(parents=True, exist_ok=True)
            for photograph, canvas in drawn(measured):
                cv2.imwrite(str(options.misses / f"{name}-{Path(photograph).stem}.png"), canvas)
    print(json.dumps([asdict(row) for row in rows], indent=1) if options.json else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
