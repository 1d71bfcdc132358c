"""What a detector missed and invented, drawn for people: whole pictures, and sheets of cut-outs to look through in one go."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.detector.figures import Judged
from benchmarks.detector.truth import Floats, Portrait, Scene, shorter_sides
from fer_core.detect.base import box_iou
from fer_core.types import Faces

FOUND, MISSED, UNMATCHED, FALSE, SMALL = (0, 170, 0), (235, 0, 0), (250, 200, 0), (235, 0, 235), (150, 150, 150)
"""RGB."""
LEGEND: Final = (
    (FOUND, "found"),
    (MISSED, "missed"),
    (UNMATCHED, "not annotated, a witness finds it"),
    (FALSE, "false"),
    (SMALL, "below the size that counts"),
)
CELL: Final = 168
"""Side of a cut-out on a sheet, pixels."""
CAPTION: Final = 46
"""Height of the three lines below it."""
COLUMNS: Final = 10
SURROUNDINGS: Final = 2.4
"""Side of a cut-out over the longer side of its box."""
LINE: Final = 0.42
"""Size of letters, in OpenCV's measure."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Cut:
    """One box to be looked at."""

    pixels: Pixels
    """(H, W, 3) RGB of the whole picture."""
    box: Floats
    """(4,)"""
    colour: tuple[int, int, int]
    """RGB."""
    caption: tuple[str, ...]
    """At most three short lines."""


def write(
    folder: Path, sets: Iterable[tuple[str, Sequence[Scene], Sequence[Judged], float]], helen: Iterable[tuple[Portrait, Faces]]
) -> None:
    """Everything about one detector, as PNGs: scenes in which a face was missed or a box matches nothing, missed portraits, two sheets.

    sets: name, scenes, what was found and the shorter side from which a face counts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missed: list[Cut] = []
    false: list[Cut] = []
    for name, scenes, judged, least in sets:
        for scene, seen in zip(scenes, judged, strict=True):
            lost = list(missed_cuts(scene, seen, least))
            if lost or seen.unmatched.any():
                _save(folder / f"{name}-{Path(scene.name).stem}.png", drawn(scene, seen, least))
            missed += lost
            false += false_cuts(scene, seen)
    for portrait, faces in helen:
        _save(folder / f"helen5-{Path(portrait.name).stem}.png", drawn_portrait(portrait, faces))
        missed.append(_portrait_cut(portrait, faces))
    _save(folder / "sheet-missed.png", contact_sheet(missed))
    _save(folder / "sheet-false.png", contact_sheet(false))


def drawn(scene: Scene, seen: Judged, least: float) -> Pixels:
    """The scene, enlarged to at least 1280 px, with every box and a legend; annotated faces below `least` that were missed in grey."""
    scale = max(1.0, 1280 / max(scene.pixels.shape[:2]))
    canvas = _enlarged(scene.pixels, scale)
    large = shorter_sides(scene.boxes) >= least
    for box, match, counts in zip(scene.boxes, seen.loose, large, strict=True):
        if match < 0:
            _frame(canvas, box * scale, MISSED if counts else SMALL)
        else:
            _frame(canvas, seen.faces.boxes[match] * scale, FOUND)
    for index in np.flatnonzero(seen.unmatched):
        colour = FALSE if seen.false[index] else UNMATCHED
        _frame(canvas, seen.faces.boxes[index] * scale, colour, f"{seen.faces.scores[index]:.2f}")
    return _with_legend(canvas)


def drawn_portrait(portrait: Portrait, faces: Faces) -> Pixels:
    """A portrait whose face was missed: its five points and whatever boxes there are."""
    scale = max(1.0, 1280 / max(portrait.pixels.shape[:2]))
    canvas = _enlarged(portrait.pixels, scale)
    for x, y in (portrait.points * scale).round().astype(int).tolist():
        cv2.circle(canvas, (x, y), 6, MISSED, -1)
    for box, score in zip(faces.boxes, faces.scores, strict=True):
        _frame(canvas, box * scale, UNMATCHED, f"{score:.2f}")
    return canvas


def missed_cuts(scene: Scene, seen: Judged, least: float) -> Iterator[Cut]:
    """The annotated faces of at least `least` that no box found at IoU 0.4, with the overlap of the nearest box."""
    nearest = box_iou(scene.boxes, seen.faces.boxes).max(axis=1, initial=0)
    for face in np.flatnonzero((seen.loose < 0) & (shorter_sides(scene.boxes) >= least)):
        yield Cut(scene.pixels, scene.boxes[face], MISSED, (_short(scene.name), _size(scene.boxes[face]), f"best IoU {nearest[face]:.2f}"))


def false_cuts(scene: Scene, seen: Judged) -> Iterator[Cut]:
    """The false positives."""
    for index in np.flatnonzero(seen.false):
        box = seen.faces.boxes[index]
        yield Cut(scene.pixels, box, FALSE, (_short(scene.name), _size(box), f"score {seen.faces.scores[index]:.2f}"))


def contact_sheet(cuts: Sequence[Cut]) -> Pixels:
    """All cut-outs in rows of `COLUMNS`; one line of text where there are none."""
    rows = max(1, -(-len(cuts) // COLUMNS))
    sheet = np.full((rows * (CELL + CAPTION), COLUMNS * CELL, 3), 255, np.uint8)
    if not cuts:
        _text(sheet, "none", (8, 24))
    for number, cut in enumerate(cuts):
        row, column = divmod(number, COLUMNS)
        top, left = row * (CELL + CAPTION), column * CELL
        sheet[top : top + CELL - 4, left : left + CELL - 4] = cut_out(cut, CELL - 4)
        for line, text in enumerate(cut.caption):
            _text(sheet, text, (left + 2, top + CELL + 9 + 14 * line))
    return sheet


def cut_out(cut: Cut, side: int) -> Pixels:
    """(side, side, 3): the box in the middle with its surroundings, grey beyond the picture."""
    middle = (cut.box[:2] + cut.box[2:]) / 2
    scale = side / (SURROUNDINGS * max(1.0, float((cut.box[2:] - cut.box[:2]).max())))
    shift = side / 2 - middle * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float64)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    out = cv2.warpAffine(cut.pixels, matrix, (side, side), flags=method, borderMode=cv2.BORDER_CONSTANT, borderValue=(128, 128, 128))
    canvas = np.ascontiguousarray(out, np.uint8)
    _frame(canvas, cut.box * scale + np.tile(shift, 2), cut.colour, thickness=1)
    return canvas


def _portrait_cut(portrait: Portrait, faces: Faces) -> Cut:
    """The five annotated points and half the distance they span around them."""
    low, high = portrait.points.min(axis=0), portrait.points.max(axis=0)
    reach = (high - low) / 2
    nearest = f"{len(faces)} boxes elsewhere"
    return Cut(portrait.pixels, np.concatenate([low - reach, high + reach]), MISSED, (_short(portrait.name), "helen5", nearest))


def _enlarged(pixels: Pixels, scale: float) -> Pixels:
    return np.array(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), np.uint8)


def _frame(canvas: Pixels, box: Floats, colour: tuple[int, int, int], text: str = "", thickness: int = 2) -> None:
    left, top, right, bottom = (int(value) for value in np.asarray(box).round())
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, thickness)
    if text:
        cv2.putText(canvas, text, (left, max(14, top - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 2, cv2.LINE_AA)


def _with_legend(canvas: Pixels) -> Pixels:
    strip = np.full((30, canvas.shape[1], 3), 255, np.uint8)
    left = 8
    for colour, text in LEGEND:
        cv2.rectangle(strip, (left, 9), (left + 14, 21), colour, -1)
        _text(strip, text, (left + 20, 20))
        left += 36 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, LINE, 1)[0][0]
    return np.concatenate([strip, canvas])


def _text(canvas: Pixels, text: str, place: tuple[int, int]) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, LINE, (20, 20, 20), 1, cv2.LINE_AA)


def _short(name: str) -> str:
    stem = Path(name).stem
    return stem if len(stem) <= 20 else f"..{stem[-18:]}"


def _size(box: Floats) -> str:
    width, height = (float(side) for side in box[2:] - box[:2])
    return f"{width:.0f} x {height:.0f} px"


def _save(file: Path, pixels: Pixels) -> None:
    cv2.imwrite(str(file), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
