"""Pictures and their marked faces under similarities: both have to go to the same place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.detector.training.material import PORTRAIT, TrainingImage
from benchmarks.detector.training.placing import Marks, Source, similarity
from benchmarks.detector.training.teacher import SWAPPED
from fer_core.types import Faces
from tests.support import made_faces  # noqa: F401  (one thread)

numbers = st.floats(-300, 300)
places = st.tuples(numbers, numbers).map(np.array)


@st.composite
def similarities(draw, degrees=None):
    degrees = st.floats(-180, 180) if degrees is None else degrees
    return similarity(draw(places), draw(places), draw(st.floats(0.1, 5)), draw(degrees), mirror=draw(st.booleans()))


@st.composite
def marks(draw):
    count = draw(st.integers(0, 4))
    draws = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    low = draws.uniform(-50, 200, (count, 2))
    boxes = np.concatenate([low, low + draws.uniform(2, 100, (count, 2))], axis=1)
    return Marks(boxes, draws.uniform(-50, 250, (count, 5, 2)), draws.uniform(0.2, 1, count))


def applied(points, matrix):
    return points @ matrix[:, :2].T + matrix[:, 2]


def composed(first, then):
    out = np.zeros((2, 3))
    out[:, :2] = then[:, :2] @ first[:, :2]
    out[:, 2] = applied(first[:, 2], then)
    return out


def middles(faces):
    return (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2


def sides(faces):
    return faces.boxes[:, 2:] - faces.boxes[:, :2]


@settings(deadline=None)
@given(places, places, st.floats(0.05, 8), st.floats(-180, 180), st.booleans())
def test_a_similarity_carries_its_centre_to_its_target(centre, target, scale, degrees, mirror):
    matrix = similarity(centre, target, scale, degrees, mirror=mirror)
    assert np.allclose(applied(centre, matrix), target)
    linear = matrix[:, :2]
    assert np.allclose(linear.T @ linear, scale**2 * np.eye(2))
    assert np.isclose(np.linalg.det(linear), (-1 if mirror else 1) * scale**2)


def test_degrees_turn_clockwise_as_seen():
    matrix = similarity(np.zeros(2), np.zeros(2), 1, 90, mirror=False)
    assert np.allclose(applied(np.array([[1.0, 0]]), matrix), [[0, 1]])  # y points down


def test_the_mirror_comes_before_the_turn():
    matrix = similarity(np.zeros(2), np.zeros(2), 1, 90, mirror=True)
    assert np.allclose(applied(np.array([[1.0, 0]]), matrix), [[0, -1]])


@settings(deadline=None)
@given(marks(), similarities(), similarities())
def test_two_moves_are_one(faces, first, then):
    twice, once = faces.moved(first).moved(then), faces.moved(composed(first, then))
    assert np.allclose(twice.points, once.points)
    assert np.allclose(middles(twice), middles(once))
    assert np.array_equal(twice.scores, faces.scores)


@settings(deadline=None)
@given(marks(), similarities(), similarities(st.sampled_from([-180, -90, 0, 90, 180])))
def test_boxes_too_where_the_second_turn_is_square(faces, first, then):
    twice, once = faces.moved(first).moved(then), faces.moved(composed(first, then))
    assert np.allclose(twice.boxes, once.boxes)


@settings(deadline=None)
@given(marks(), similarities())
def test_the_way_back_leads_to_the_same_points(faces, matrix):
    inverse = np.linalg.inv(np.concatenate([matrix, [[0, 0, 1]]]))[:2]
    back = faces.moved(matrix).moved(inverse)
    assert np.allclose(back.points, faces.points)
    assert np.allclose(middles(back), middles(faces))
    assert (sides(back) >= sides(faces).min(axis=1, keepdims=True) - 1e-6).all()


@settings(deadline=None)
@given(marks(), st.floats(-100, 300))
def test_mirrored_twice_is_as_before(faces, axis):
    mirror = similarity(np.array([axis, 0]), np.array([axis, 0]), 1, 0, mirror=True)
    once = faces.moved(mirror)
    twice = once.moved(mirror)
    assert np.allclose(twice.boxes, faces.boxes)
    assert np.allclose(twice.points, faces.points)
    assert np.allclose(once.points, applied(faces.points, mirror)[:, SWAPPED])  # the left eye is again the one on the left
    assert np.allclose(sides(once), sides(faces))


@settings(deadline=None)
@given(marks(), st.sampled_from([-90, 90]), st.booleans())
def test_a_quarter_turn_swaps_the_sides(faces, degrees, mirror):
    matrix = similarity(np.array([30, 40.0]), np.array([5, 6.0]), 1, degrees, mirror=mirror)
    assert np.allclose(sides(faces.moved(matrix)), sides(faces)[:, ::-1])


@settings(deadline=None)
@given(marks(), similarities())
def test_a_turned_box_holds_the_turned_ellipse_and_no_more(faces, matrix):
    around = np.linspace(0, 2 * np.pi, 721)
    circle = np.stack([np.cos(around), np.sin(around)], 1)
    for box, moved in zip(faces.boxes, faces.moved(matrix).boxes, strict=True):
        ellipse = applied((box[:2] + box[2:]) / 2 + circle * (box[2:] - box[:2]) / 2, matrix)
        reached = np.concatenate([ellipse.min(0), ellipse.max(0)])
        assert np.allclose(reached, moved, atol=1e-3 * (moved[2:] - moved[:2]).max())


def test_joined_and_taken():
    draws = np.random.default_rng(0)
    one, two = (Marks(draws.uniform(0, 9, (n, 4)), draws.uniform(0, 9, (n, 5, 2)), draws.uniform(0, 1, n)) for n in (2, 3))
    joined = Marks.joined([one, Marks.none(), two])
    assert len(joined.scores) == 5
    assert np.array_equal(joined.take(np.array([2, 3, 4])).points, two.points)
    assert np.array_equal(joined.take(np.arange(5) < 2).boxes, one.boxes)
    empty = Marks.joined([])
    assert empty.boxes.shape == (0, 4)
    assert empty.points.shape == (0, 5, 2)
    assert empty.moved(similarity(np.zeros(2), np.ones(2), 2, 30, mirror=True)).boxes.shape == (0, 4)


def spotted(place, reach, shape=(243, 301)):
    """A black picture with a soft bright dot whose middle is at `place`, in pixel edges."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    light = 255 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * reach**2))
    return np.repeat(light.round().astype(np.uint8)[..., None], 3, 2)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.floats(120, 180), st.floats(100, 140)).map(np.array),
    st.tuples(st.floats(40, 80), st.floats(30, 50)).map(np.array),
    st.floats(0.08, 2.5),
    st.floats(-180, 180),
    st.booleans(),
)
def test_a_dot_is_drawn_where_its_mark_goes(place, target, scale, degrees, mirror):
    """Below half size the halves, quarters and eighths are what is drawn from."""
    source = Source(TrainingImage(PORTRAIT, "dot", spotted(place, max(2.5, 1.5 / scale)), Faces.none()))
    centre = place + [3, -2] / np.array(scale)  # not the dot itself: the turn has to be right too
    matrix = similarity(centre, target, scale, degrees, mirror=mirror)
    drawn = source.warped(matrix, (120, 80), 0)  # cv2.BORDER_CONSTANT
    assert drawn.shape == (80, 120, 3)
    light = drawn[..., 0].astype(float)
    y, x = np.mgrid[:80, :120] + 0.5
    seen = np.array([(x * light).sum(), (y * light).sum()]) / light.sum()
    told = Marks(np.zeros((1, 4)), np.tile(place, (1, 5, 1)), np.ones(1)).moved(matrix).points[0, 0]
    assert np.allclose(seen, told, atol=0.3)


def test_nothing_changes_at_full_size():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    source = Source(TrainingImage(PORTRAIT, "noise", pixels, Faces.none()))
    assert np.array_equal(source.warped(similarity(np.zeros(2), np.zeros(2), 1, 0, mirror=False), (70, 60)), pixels)
    mirror = similarity(np.array([35.0, 0]), np.array([35.0, 0]), 1, 0, mirror=True)
    assert np.array_equal(source.warped(mirror, (70, 60)), pixels[:, ::-1])


@pytest.mark.parametrize("scale", [0.24, 0.11])
def test_shrinking_averages_areas(scale):
    """Fine checks become grey instead of a moiré."""
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    source = Source(TrainingImage(PORTRAIT, "checks", np.repeat(checks[..., None], 3, 2), Faces.none()))
    drawn = source.warped(similarity(np.zeros(2), np.zeros(2), scale, 0, mirror=False), (20, 20))
    assert np.abs(drawn.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (40, 1), (33, 500)])
def test_pictures_of_any_shape_shrink(shape):
    source = Source(TrainingImage(PORTRAIT, "thin", np.full((*shape, 3), 77, np.uint8), Faces.none()))
    for scale in (0.01, 0.5, 3):
        drawn = source.warped(similarity(source.size / 2, np.array([8.0, 8]), scale, 20, mirror=False), (16, 16))
        assert (drawn == 77).all()
