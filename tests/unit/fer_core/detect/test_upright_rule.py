"""Which detections are trusted to be upright."""

import numpy as np
import pytest

from fer_core.detect.upright_rule import ANY_FACE, UprightRule
from fer_core.types import Faces


def faces(*scores: float, points: float = 1.0) -> Faces:
    """Boxes of 100 px; `points` is how far the five points are apart, 1 as usual."""
    shape = np.array([[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]], np.float32)
    shape = (shape - shape.mean(axis=0)) * points + shape.mean(axis=0)
    count = len(scores)
    boxes = np.tile(np.array([0, 0, 100, 100], np.float32), (count, 1))
    return Faces(boxes, np.tile(shape, (count, 1, 1)), np.array(scores, np.float32))


def test_the_best_face_decides():
    rule = UprightRule(0.8)
    assert [rule.trusts(faces(*scores)) for scores in ((), (0.79,), (0.81,), (0.5, 0.9))] == [False, False, True, True]


def test_points_that_are_drawn_together_count_against_a_face():
    rule = UprightRule(1.3, spread=2.0)
    assert rule.trusts(faces(0.85))
    assert not rule.trusts(faces(0.85, points=0.7))
    # of five points on a circle whose radius is a quarter of the box's side, each adds that quarter
    angles = np.arange(5) * 2 * np.pi / 5
    circle = 50 + 25 * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    one = Faces(np.array([[0, 0, 100, 100]], np.float32), circle[None], np.array([0.85], np.float32))
    assert rule.strengths(one).tolist() == pytest.approx([0.85 + 2 * 0.25])
    assert rule.strengths(faces(0.85, 0.7, points=0.0)).tolist() == pytest.approx([0.85, 0.7])


def test_any_face_is_enough_without_a_rule():
    assert [ANY_FACE.trusts(faces(*scores)) for scores in ((), (0.0,), (0.3,))] == [False, True, True]


def test_a_box_without_an_area_has_a_strength():
    one = faces(0.5)
    assert np.isfinite(UprightRule(1.0, 2.0).strengths(Faces(one.boxes * 0, one.points, one.scores))).all()
