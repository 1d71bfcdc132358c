"""Pictures that lie on their side or head: which are turned, what is searched, what comes back."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from fer_core.align.face_extractor import CpuFaceExtractor
from fer_core.align.quality import head_pose
from fer_core.align.turning_extractor import CELL, TurningExtractor
from fer_core.decode.min_face import Look
from fer_core.detect.base import box_iou
from fer_core.detect.builtin.detector import UPRIGHT, BuiltinDetector
from fer_core.detect.quarter_turn import turned_faces, turned_picture, turned_shape
from fer_core.detect.upright_rule import UprightRule
from fer_core.timing import Stopwatch
from fer_core.types import Faces

ROLLS = {0: 0, 1: -90, 2: 180, 3: 90}
"""Counter-clockwise quarter turns of an upright picture -> roll of its faces, positive clockwise."""
LOOK = Look(20, 320)
MARK = (250, 10, 10)


def marked(turns: int, height: int = 300, width: int = 400, shade: int = 90) -> NDArray[np.uint8]:
    """A picture with a red corner, which is left above when it is upright, turned counter-clockwise."""
    pixels = np.full((height, width, 3), shade, np.uint8)
    pixels[: height // 4, : width // 4] = MARK
    return turned_picture(pixels, turns)


@dataclass
class CornerDetector:
    """Finds a face wherever the red corner is left above: in pictures, and in the cells of a sheet."""

    score: float = 0.9
    elsewhere: float = 0.0
    """Score of a face in pictures whose corner is elsewhere."""
    identity: str = "corner"
    seen: list[tuple[int, ...]] = field(default_factory=list)

    def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
        height, width = pixels.shape[:2]
        self.seen.append((height, width))
        sheet = width in {3 * height, 3 * height // 2}
        found = [left for left in range(0, width, width // 3 if sheet else width) if abs(pixels[5, left + 5].astype(int) - MARK).max() < 40]
        scores = [self.score] * len(found)
        if not found and self.elsewhere and not sheet:
            found, scores = [0], [self.elsewhere]
        left = np.array(found, np.float32).reshape(-1, 1)
        boxes = np.concatenate([left + 2, left * 0 + 4, left + 42, left * 0 + 54], axis=1).astype(np.float32)
        points = boxes[:, None, :2] + np.array([[12, 16], [28, 16], [20, 26], [13, 35], [27, 35]], np.float32)
        return Faces(boxes, points, np.array(scores, np.float32))


def extractor(detector: CornerDetector, rule: UprightRule) -> TurningExtractor:
    return TurningExtractor(CpuFaceExtractor(detector, 4096), rule)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_picture_is_searched_the_way_up_that_has_the_face(turns):
    detector = CornerDetector()
    (found,) = extractor(detector, UprightRule(0.8)).extract([marked(turns)], [LOOK], Stopwatch())
    upright = CpuFaceExtractor(CornerDetector()).extract([marked(0)], [LOOK], Stopwatch())[0]
    assert found.turns == -turns % 4
    assert np.array_equal(found.crops, upright.crops)  # bit for bit those of the upright picture
    expected = turned_faces(upright.faces, turns, (300, 400))
    assert np.array_equal(found.faces.boxes, expected.boxes)
    assert np.allclose(found.faces.points, expected.points)
    roll = head_pose(found.faces.points)[0, 2]
    assert abs((roll - ROLLS[turns] + 180) % 360 - 180) < 1
    sheet = (CELL[0], 3 * CELL[0])
    shapes = [(300, 400)] if turns == 0 else [turned_shape((300, 400), turns), sheet, (300, 400)]
    assert detector.seen == shapes


def test_what_is_trusted_costs_nothing_and_what_has_no_face_one_sheet():
    detector = CornerDetector()
    empty = np.full((300, 400, 3), 90, np.uint8)
    found = extractor(detector, UprightRule(0.8)).extract([marked(0), empty], [LOOK, LOOK], Stopwatch())
    assert [(len(one.faces), one.turns) for one in found] == [(1, 0), (0, 0)]
    assert detector.seen == [(300, 400), (300, 400), (128, 384)]


@pytest.mark.parametrize(
    ("score", "elsewhere", "least", "turned"),
    [
        (0.9, 0.7, 0.75, True),  # a face on its head, found upright with wrong points
        (0.72, 0.7, 0.75, False),  # better, but too weak for a picture that is turned
        (0.78, 0.79, 0.75, False),  # upright does no worse
        (0.9, 0.85, 0.75, False),  # trusted
    ],
)
def test_a_turn_has_to_be_better_than_what_was_found_upright(score, elsewhere, least, turned):
    rule = UprightRule(0.8, turned_score=least)
    (found,) = extractor(CornerDetector(score, elsewhere), rule).extract([marked(2)], [LOOK], Stopwatch())
    assert found.turns == (2 if turned else 0)
    assert len(found.faces) == 1


def test_pictures_of_one_call_do_not_change_one_another():
    pictures = [marked(turns, shade=70 + turns, width=400 - turns) for turns in (0, 1, 2, 3, 1)]
    empty = np.full((30, 17, 3), 90, np.uint8)
    rule = UprightRule(0.8)
    together = extractor(CornerDetector(), rule).extract([*pictures, empty], [LOOK] * 6, Stopwatch())
    for picture, one in zip([*pictures, empty], together, strict=True):
        (alone,) = extractor(CornerDetector(), rule).extract([picture], [LOOK], Stopwatch())
        assert np.array_equal(one.faces.boxes, alone.faces.boxes)
        assert np.array_equal(one.crops, alone.crops)
        assert one.turns == alone.turns


@pytest.mark.parametrize(("side", "cell"), [(100, 128), (512, 128), (700, 192), (1000, 224), (4000, 224), (None, 128)])
def test_the_sheet_is_small_whatever_the_picture(side, cell):
    detector = CornerDetector()
    extractor(detector, UprightRule(0.8)).extract([np.zeros((300, 400, 3), np.uint8)], [Look(20, side)], Stopwatch())
    assert detector.seen[1:] == [(cell, 3 * cell)]


def test_what_was_found_upright_has_a_row_of_its_own():
    detector = CornerDetector(0.9, elsewhere=0.7)
    extractor(detector, UprightRule(0.8)).extract([marked(2)], [LOOK], Stopwatch())
    assert detector.seen == [(300, 400), (256, 384), (300, 400)]


def test_a_picture_is_turned_once_more_where_the_first_turn_is_not_trusted():
    """Both turns are counted together."""

    class Second(CornerDetector):
        """Takes a wrong cell of the first sheet, and finds something weak in whatever lies wrong."""

        def detect(self, pixels: NDArray[np.uint8], side: int | None = None, /) -> Faces:
            self.elsewhere = 0.4 + 0.1 * len(self.seen)
            found = super().detect(pixels, side)
            right = np.array([CELL[0], 0] * 2 if len(self.seen) == 2 else [0] * 4, np.float32)
            return Faces(found.boxes + right, found.points, found.scores)

    detector = Second()
    (found,) = extractor(detector, UprightRule(0.8)).extract([marked(3)], [LOOK], Stopwatch())
    assert detector.seen == [(400, 300), (256, 384), (400, 300), (256, 384), (300, 400)]
    assert found.turns == 1
    expected = CpuFaceExtractor(CornerDetector()).extract([marked(0)], [LOOK], Stopwatch())[0]
    assert np.array_equal(found.crops, expected.crops)
    assert np.array_equal(found.faces.boxes, turned_faces(expected.faces, 3, (300, 400)).boxes)


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 2), (7, 9)])
def test_odd_sizes(shape):
    detector = BuiltinDetector()
    found = TurningExtractor(CpuFaceExtractor(detector), UPRIGHT).extract([np.zeros((*shape, 3), np.uint8)], [LOOK], Stopwatch())
    assert [len(one.faces) for one in found] == [0]


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("part", [(slice(None), slice(None)), (slice(0, 360), slice(60, 330))])
def test_a_real_face(turns, part):
    """The astronaut, and a part of her picture that is no square."""
    pixels = np.ascontiguousarray(data.astronaut()[part])
    detector = BuiltinDetector()
    (upright,) = CpuFaceExtractor(detector).extract([pixels], [LOOK], Stopwatch())
    (found,) = TurningExtractor(CpuFaceExtractor(detector), detector.upright).extract([turned_picture(pixels, turns)], [LOOK], Stopwatch())
    assert (len(upright.faces), found.turns) == (1, -turns % 4)
    assert np.array_equal(found.crops, upright.crops)
    expected = turned_faces(upright.faces, turns, pixels.shape[:2])
    assert box_iou(found.faces.boxes, expected.boxes).diagonal().min() > 0.99
    roll = head_pose(found.faces.points)[0] - head_pose(upright.faces.points)[0]
    assert np.abs(roll[:2]).max() < 0.1  # yaw and pitch are the face's own
    assert abs((roll[2] - ROLLS[turns] + 180) % 360 - 180) < 0.1
