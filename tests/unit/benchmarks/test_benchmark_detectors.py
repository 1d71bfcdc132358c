"""Whether the benchmark of the detectors counts what it says it counts."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.detector import compare as detectors
from benchmarks.detector import figures
from benchmarks.detector import misses as detector_misses
from benchmarks.detector.cascade import Cascade
from benchmarks.detector.contenders import Contender, Found, Speed, contenders, speeds
from benchmarks.detector.curves import curve
from benchmarks.detector.figures import LOOSE, STRICT, judge, matches
from benchmarks.detector.misses import FALSE, MISSED, Cut, contact_sheet, cut_out, drawn, false_cuts, missed_cuts
from benchmarks.detector.table import number, table
from benchmarks.detector.truth import Portrait, Scene, Truth, kept, load, ordered
from fer_core.align.quality import HEAD
from fer_core.detect.builtin.network import DetectionConfig, DetectionNet
from fer_core.detect.builtin.weights import save_detector
from fer_core.errors import DetectorError
from fer_core.types import Faces
from tests.support.made_faces import encoded, faces

ROOT = Path(__file__).parents[3]
NO_BOXES = np.zeros((0, 4))


def scene(boxes: list[list[float]], side: int = 200, **known: NDArray[np.float64]) -> Scene:
    count = len(boxes)
    eyes, yaw = known.get("eyes", np.full((count, 2, 2), np.nan)), known.get("yaw", np.full(count, np.nan))
    return Scene("made.png", np.full((side, side, 3), 90, np.uint8), np.array(boxes, np.float64).reshape(-1, 4), eyes, yaw)


def found(boxes: list[list[float]], scores: list[float] | None = None, points: NDArray[np.float64] | None = None) -> Faces:
    five = np.zeros((len(boxes), 5, 2)) if points is None else points
    confident = np.array(scores or np.linspace(0.9, 0.5, len(boxes)), np.float32)
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), five.astype(np.float32), confident)


def test_one_box_for_one_face() -> None:
    truth = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [100, 100, 120, 120]], float)
    boxes = np.array([[3, 0, 13, 10], [4, 0, 14, 10], [50, 50, 60, 60], [0, 0, 10, 10]], float)
    # the first box takes the second face, the copy of that face is left with the first (IoU 0.43), the fourth comes too late
    assert matches(truth, boxes, LOOSE).tolist() == [1, 0, -1]
    assert matches(truth, boxes, STRICT).tolist() == [3, 0, -1]
    assert matches(truth, NO_BOXES, LOOSE).tolist() == [-1, -1, -1]
    assert matches(NO_BOXES, boxes, LOOSE).tolist() == []


corners = st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 9), st.integers(1, 9))


@given(st.lists(corners, max_size=6), st.lists(corners, max_size=8), st.sampled_from([LOOSE, STRICT]), st.integers(0, 8))
def test_low_scores_change_no_earlier_match(truth: list[tuple[int, ...]], boxes: list[tuple[int, ...]], limit: float, first: int) -> None:
    real, seen = (np.array([(x, y, x + w, y + h) for x, y, w, h in rows], float).reshape(-1, 4) for rows in (truth, boxes))
    every = matches(real, seen, limit)
    used = every[every >= 0]
    assert len(set(used.tolist())) == len(used)
    assert (figures.box_iou(real, seen)[every >= 0, used] >= limit).all()
    assert matches(real, seen[:first], limit).tolist() == np.where(every < first, every, -1).tolist()


def test_false_is_what_nobody_else_finds() -> None:
    made = scene([[0, 0, 20, 20]])
    seen = found([[0, 0, 20, 20], [1, 0, 21, 20], [100, 100, 120, 120], [150, 150, 170, 170], [0, 0, 20, 8]])
    bare = judge(made, seen, NO_BOXES)
    assert bare.loose.tolist() == [0]
    assert bare.unmatched.tolist() == [False, True, True, True, True]
    assert bare.false.tolist() == bare.unmatched.tolist()
    vouched = judge(made, seen, np.array([[0, 0, 20, 20], [102, 100, 122, 120], [150, 150, 170, 157.0]]))
    # a double of a face that a witness finds is unmatched, not false; 0.35 of overlap vouches for nothing
    assert vouched.unmatched.tolist() == [False, True, True, True, True]
    assert vouched.false.tolist() == [False, False, False, True, False]
    assert judge(scene([]), found([]), NO_BOXES).false.tolist() == []


def test_only_sure_witnesses_vouch() -> None:
    sure, unsure = [0, 0, 10, 10], [20, 20, 30, 30]
    first, second = [found([sure, unsure], [0.7, 0.59]), found([])], [found([unsure], [0.5]), found([unsure], [0.49])]
    boxes = detectors.witness_boxes([(0.6, first), (0.5, second)], 2)
    assert [scene.tolist() for scene in boxes] == [[sure, unsure], []]
    assert [scene.shape for scene in detectors.witness_boxes([], 2)] == [(0, 4), (0, 4)]


def test_recall_counts_faces_of_a_size() -> None:
    scenes = [scene([[0, 0, 50, 19], [60, 0, 90, 30]]), scene([[0, 0, 40, 40]])]
    seen = [judge(scenes[0], found([[60, 0, 90, 30]]), NO_BOXES), judge(scenes[1], found([[0, 0, 40, 18]]), NO_BOXES)]
    assert figures.recall(scenes, seen, LOOSE) == pytest.approx(2 / 3)
    assert figures.recall(scenes, seen, STRICT) == pytest.approx(1 / 3)
    assert figures.recall(scenes, seen, LOOSE, 20) == 1
    assert figures.recall(scenes, seen, STRICT, 20) == 0.5
    assert np.isnan(figures.recall(scenes, seen, LOOSE, 200))


def test_precision_and_recall_as_the_threshold_falls() -> None:
    made = scene([[0, 0, 30, 30], [50, 0, 80, 30], [100, 0, 110, 10]])
    boxes = [[0, 0, 30, 30], [150, 150, 180, 180], [100, 0, 110, 10], [0, 100, 30, 130], [50, 0, 80, 30], [50, 100, 80, 130]]
    seen = judge(made, found(boxes, [0.9, 0.8, 0.7, 0.6, 0.5, 0.5]), np.array([[0, 100, 30, 130.0]]))
    drawn = curve([made], [seen], 20)
    # after the hit: a false box; a face below 20 px and one that a witness finds, which do not count; a hit and a false box of one score
    np.testing.assert_allclose(drawn.scores, [0.9, 0.8, 0.7, 0.6, 0.5], atol=1e-6)
    assert drawn.recall.tolist() == [0.5, 0.5, 0.5, 0.5, 1]
    assert drawn.precision.tolist() == [1, 0.5, 0.5, 0.5, 0.5]
    assert curve([made], [seen]).recall.tolist() == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3, 1])
    empty = curve([made], [judge(made, found([]), NO_BOXES)])
    assert len(empty.scores) == len(empty.recall) == len(empty.precision) == 0
    loose = curve([made], [judge(made, found([[0, 0, 30, 14]]), NO_BOXES)])  # neither a hit nor false
    assert (loose.recall.tolist(), loose.precision.tolist()) == ([0], [1])


def test_eyes_come_left_first() -> None:
    eyes = np.array([[[30, 5], [10, 6]], [[1, 2], [3, 4]], [[np.nan, np.nan], [3, 4]]], float)
    assert ordered(eyes)[0].tolist() == [[10, 6], [30, 5]]
    np.testing.assert_array_equal(ordered(eyes)[1:], eyes[1:])
    assert ordered(np.zeros((0, 4))).shape == (0, 2, 2)


def test_eye_errors_of_faces_that_look_ahead() -> None:
    boxes = [[0, 0, 40, 40], [100, 0, 140, 40], [0, 100, 40, 140], [100, 100, 140, 140]]
    eyes = np.array([[[10, 10], [30, 10]], [[110, 10], [130, 10]], [[10, 110], [np.nan, np.nan]], [[110, 110], [130, 110]]], float)
    made = scene(boxes, eyes=eyes, yaw=np.array([30, -45, 0, 0.0]))
    points = np.zeros((3, 5, 2))
    points[0, :2] = [[10, 14], [32, 10]]
    seen = judge(made, found(boxes[:3], points=points), NO_BOXES)
    # turned by 45 degrees, an eye out of sight, not found: only the first face counts
    assert figures.eye_errors([made], [seen]).tolist() == pytest.approx([(4 / 20 + 2 / 20) / 2])


def test_yaw_is_positive_towards_the_right_edge() -> None:
    turn = np.radians(30)
    view = HEAD[:, :2].copy()
    view[:, 0] = HEAD[:, 0] * np.cos(turn) - HEAD[:, 2] * np.sin(turn)
    assert view[2, 0] > view[:2, 0].mean()  # the nose points right
    box = [[0, 0, 200, 200]]
    for yaw, error in ((30, 0), (-30, 60), (15, 15)):
        made = scene(box, yaw=np.array([yaw], float))
        seen = judge(made, found(box, points=view[None] * 50 + 90), NO_BOXES)
        assert figures.yaw_errors([made], [seen])[0] == pytest.approx(error, abs=0.5)
    assert len(figures.yaw_errors([scene(box)], [judge(scene(box), found(box), NO_BOXES)])) == 0


def test_point_errors_of_the_best_box_around() -> None:
    points = np.array([[40, 40], [60, 40], [50, 50], [42, 60], [58, 60]], float)
    portraits = [Portrait(name, np.zeros((100, 100, 3), np.uint8), points) for name in ("a", "b", "c")]
    stacked = np.stack([points * 0, points + np.array([0, 2]), points])
    best = found([[0, 0, 20, 20], [30, 30, 70, 70], [20, 20, 80, 80]], points=stacked)
    missed, errors = figures.point_errors(portraits, [best, found([[0, 0, 20, 20]]), found([])])
    assert missed == [1, 2]
    np.testing.assert_allclose(errors, np.full((1, 5), 0.1))


def test_goals() -> None:
    assert [figures.reached("afw_recall_iou50", value) for value in (0.99, 0.989, 0.93, 0.929)] == ["goal", "floor", "floor", "below"]
    assert [figures.reached("helen_missed", value) for value in (0, 1, 2, 3)] == ["goal", "floor", "floor", "below"]
    assert figures.reached("eye_error", float("nan")) == "below"
    assert figures.reached("photos_unmatched_per_image", 0) == ""


class Counting:
    """Finds nothing and keeps the order in which it was asked."""

    identity = "counting"

    def __init__(self, name: str, asked: list[str]) -> None:
        self.name, self.asked = name, asked

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        del pixels
        self.asked.append(self.name)
        return Faces.none()


def made_row(name: str) -> figures.Row:
    made = scene([[0, 0, 40, 40]])
    truth = Truth([made], [made], [])
    seen = Found(f"{name}-identity", [found([[0, 0, 40, 40]])], [found([[100, 100, 140, 140], [0, 0, 10, 10]])], [])
    result = detectors.judged(truth, seen, detectors.WitnessBoxes([NO_BOXES], [NO_BOXES]))
    contender = Contender(name, 0.25, lambda _: Counting(name, []))
    return detectors.row(contender, truth, seen, result, Speed(30.0, 31.0))


def test_table_and_json() -> None:
    row = made_row("builtin")
    assert row.afw_recall_iou50 == 1
    assert row.photos_recall_20px_iou40 == 0
    assert row.photos_false_per_image == 1  # boxes below 16 px are ignored
    lines = {line.strip().split("  ")[0]: line for line in table([made_row("yunet"), row], ["yunet"]).splitlines()}
    assert lines["recall at IoU 0.5"].split()[-5:] == ["0.930", "0.990", "1.000", "1.000", "goal"]
    assert lines["images a second"].split()[-5:] == ["20", "60", "30.0", "30.0", "floor"]
    assert lines["eye error, yaw below 45"].split()[-5:] == ["0.130", "0.090", "-", "-", "below"]
    assert "builtin 0.25" in table([row], [])
    told = json.loads(detectors.written([row], ["yunet"], {"cascade": "gone"}))
    assert told["detectors"][0]["eye_error"] is None
    assert (told["goals"]["helen_missed"], told["witnesses"]) == ({"floor": 2, "goal": 0}, {"yunet": 0.6})
    assert number(12.345) == "12.3"


def test_what_cannot_be_had_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cv2, "data", None, raising=False)
    built, skipped = detectors.built(contenders(tmp_path, tmp_path / "none.safetensors"), ["cascade", "yunet", "builtin"])
    assert not built
    assert list(skipped) == ["cascade", "yunet", "builtin"]
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("skipped cascade: the installed OpenCV brings no haarcascade")
    assert said[2] == f"skipped builtin: detector file not found: {tmp_path / 'none.safetensors'}"


def test_cascade_draws_no_faces_from_nothing() -> None:
    try:
        cascade = Cascade()
    except DetectorError as error:
        pytest.skip(str(error))
    for shape in ((1, 1, 3), (1, 5000, 3), (200, 300, 3)):
        assert len(cascade.detect(np.full(shape, 255, np.uint8))) == 0


def test_detectors_take_turns() -> None:
    asked: list[str] = []
    taken = speeds({name: Counting(name, asked) for name in "ab"}, [np.zeros((4, 4, 3), np.uint8)] * 3)
    assert "".join(asked) == "ababab"
    assert all(speed.images_per_second > 0 for speed in taken.values())


def cut(box: list[float], pixels: NDArray[np.uint8], colour: tuple[int, int, int] = MISSED) -> Cut:
    return Cut(pixels, np.array(box, float), colour, ("name", "10 x 10 px", "score 0.50"))


def test_a_cut_out_shows_the_box_and_its_surroundings() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[40:60, 40:60] = 200
    out = cut_out(cut([40, 40, 60, 60], pixels), 120)
    framed = np.argwhere((out == MISSED).all(axis=2))
    assert framed.min(axis=0).tolist() == [35, 35]  # 20 of 48 px are 50 of 120, in the middle
    assert framed.max(axis=0).tolist() == [85, 85]
    assert (int(out[60, 60, 0]), int(out[5, 5, 0])) == (200, 0)
    assert (cut_out(cut([0, 0, 20, 20], pixels), 120)[5, 5] == 128).all()  # beyond the picture
    assert cut_out(cut([50, 50, 50, 50], pixels), 120).shape == (120, 120, 3)


def test_contact_sheets_hold_every_cut() -> None:
    pixels, columns = np.zeros((100, 100, 3), np.uint8), detector_misses.COLUMNS
    sheet = contact_sheet([cut([40, 40, 60, 60], pixels, FALSE)] * (columns + 1))
    cells = sheet.reshape(2, sheet.shape[0] // 2, columns, detector_misses.CELL, 3).swapaxes(1, 2).reshape(2 * columns, -1, 3)
    assert [bool((cell == FALSE).all(axis=1).any()) for cell in cells] == [True] * (detector_misses.COLUMNS + 1) + [False] * (
        detector_misses.COLUMNS - 1
    )
    assert (contact_sheet([]) < 128).any()  # says so


def test_what_is_cut_out() -> None:
    made = scene([[0, 0, 40, 40], [100, 100, 130, 120], [100, 0, 110, 10]])
    boxes = [[0, 0, 40, 40], [60, 60, 90, 90], [120, 100, 130, 120], [150, 150, 180, 180]]
    seen = judge(made, found(boxes, [0.9, 0.8, 0.7, 0.6]), np.array([[60, 60, 90, 90.0]]))
    missed = list(missed_cuts(made, seen, 20))
    assert [(c.box.tolist(), c.caption) for c in missed] == [([100, 100, 130, 120], ("made", "30 x 20 px", "best IoU 0.33"))]
    assert len(list(missed_cuts(made, seen, 0))) == 2
    assert [c.caption[1:] for c in false_cuts(made, seen)] == [("10 x 20 px", "score 0.70"), ("30 x 30 px", "score 0.60")]


def test_every_box_is_drawn_in_its_colour() -> None:
    made = scene([[0, 50, 40, 90], [100, 100, 130, 120], [100, 10, 110, 20]])
    seen = judge(made, found([[0, 50, 40, 90], [60, 60, 90, 90], [150, 150, 180, 180]]), np.array([[60, 60, 90, 90.0]]))
    canvas = drawn(made, seen, 20)[30:]  # below the legend
    scale = 1280 / 200
    for (x, y), colour in (
        ((0, 70), detector_misses.FOUND),
        ((100, 110), MISSED),
        ((60, 75), detector_misses.UNMATCHED),
        ((150, 165), FALSE),
        ((100, 15), detector_misses.SMALL),
    ):
        assert tuple(canvas[round(y * scale), round(x * scale)]) == colour


def test_pictures_without_a_fault_are_not_drawn(tmp_path: Path) -> None:
    made = scene([[0, 0, 40, 40]])
    good, bad = judge(made, found([[0, 0, 40, 40]]), NO_BOXES), judge(made, found([]), NO_BOXES)
    portrait = Portrait("p.jpg", made.pixels, np.array([[40, 40], [60, 40], [50, 50], [42, 60], [58, 60]], float))
    detector_misses.write(tmp_path / "good", [("afw", [made], [good], 0)], [])
    assert {file.name for file in (tmp_path / "good").iterdir()} == {"sheet-missed.png", "sheet-false.png"}
    detector_misses.write(tmp_path / "bad", [("afw", [made], [bad], 0)], [(portrait, found([]))])
    assert {file.name for file in (tmp_path / "bad").iterdir()} == {"afw-made.png", "helen5-p.png", "sheet-missed.png", "sheet-false.png"}


def made_data(folder: Path) -> Path:
    """Two pictures of drawn faces, used three times."""
    photos = folder / "photos"
    names = ("one.png", "two.png")
    for part in (photos, photos / "afw", photos / "helen5"):
        part.mkdir(parents=True)
        for name, face in zip(names, faces(2), strict=True):
            (part / name).write_bytes(
                encoded(cv2.cvtColor(cv2.copyMakeBorder(face, 40, 40, 80, 40, cv2.BORDER_REPLICATE), cv2.COLOR_GRAY2RGB))
            )
    box = [94.0, 48.0, 178.0, 156.0]
    pose = [[float(np.radians(15)), 0.0, 0.0]]
    annotated = {"boxes_xyxy": [box], "eyes_xyxy": [[118.0, 92.0, 154.0, 92.0]], "pose_yaw_pitch_roll_rad": pose}
    five = [[118, 92], [154, 92], [136, 110], [124, 130], [148, 130]]
    (photos / "boxes_xyxy.json").write_text(json.dumps({name: [box, [0, 0, 12, 12]] for name in names}))
    (photos / "afw" / "annotations.json").write_text(json.dumps(dict.fromkeys(names, annotated)))
    (photos / "helen5" / "five_points.json").write_text(json.dumps(dict.fromkeys(names, five)))
    return folder


def test_truth_at_the_size_that_is_measured(tmp_path: Path) -> None:
    truth = load(made_data(tmp_path))
    assert [scene.pixels.shape for scene in truth.afw] == [(530, 640, 3)] * 2
    scale = 640 / 232
    np.testing.assert_allclose(truth.afw[0].boxes[0], np.array([94, 48, 178, 156]) * scale, rtol=0.005)
    np.testing.assert_allclose(truth.afw[0].eyes[0], np.array([[118, 92], [154, 92]]) * scale, rtol=0.005)
    assert truth.afw[0].yaw.tolist() == [15]
    assert truth.photographs[0].pixels.shape == (192, 232, 3)
    assert truth.photographs[1].boxes.shape == (2, 4)
    assert len(kept(found([[0, 0, 16, 16], [0, 0, 40, 15]]), 16)) == 1


def test_the_whole_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = made_data(tmp_path)
    torch.manual_seed(0)
    small = DetectionConfig(stem=(4, 8), widths=(8, 8, 8), blocks=(1, 1, 1), neck=8)
    save_detector(DetectionNet(small, norm=True).eval(), tmp_path / "random.safetensors")
    command = ["benchmarks/detector/compare.py", str(data), "--only", "builtin", "--weights", str(tmp_path / "random.safetensors")]
    command += ["--threshold", "0.009", "--json", "--curves", str(tmp_path / "curves.png"), "--misses", str(tmp_path / "misses")]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr("fer_core.detect.builtin.detector.CANDIDATES", 20)  # what is not trained sees thousands of faces
    threads = cv2.getNumThreads()
    assert detectors.main() == 0  # the test below runs it as people do
    cv2.setNumThreads(threads)
    (row,) = (told := json.loads(capsys.readouterr().out))["detectors"]
    assert (row["detector"], row["score_threshold"]) == ("builtin", 0.009)
    assert 0 <= row["afw_recall_iou50"] <= row["afw_recall_iou40"] <= 1
    assert row["images_per_second"] > 0
    assert (told["witnesses"], list(told["skipped"])) == ({}, ["yunet", "scrfd_2.5g"])
    assert np.asarray(cv2.imread(str(tmp_path / "curves.png"))).shape[1] > 1000
    assert {"sheet-missed.png", "sheet-false.png"} <= {file.name for file in (tmp_path / "misses" / "builtin").iterdir()}


def test_no_data_is_said_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.detector.compare", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"no photographs in {tmp_path}\n")
