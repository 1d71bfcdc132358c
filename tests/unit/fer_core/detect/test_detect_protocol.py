"""Cleaning, overlap and suppression of raw findings, and the sizes at which pictures are looked at."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.detect.base import box_iou, clean_detections, nms
from fer_core.detect.image_pyramid import (
    EDGE,
    LIMIT_SIDE,
    MAX_SIDE,
    OVERLAP,
    finest_side,
    halved,
    plan_levels,
    pyramid_levels,
    shrinkable_side,
    tiles,
)

anything = st.floats(-200, 200, width=32) | st.sampled_from([np.nan, np.inf, -np.inf])
findings = st.integers(0, 8).flatmap(
    lambda n: st.tuples(
        arrays(np.float32, (n, 4), elements=anything),
        arrays(np.float32, (n, 5, 2), elements=anything),
        arrays(np.float32, (n,), elements=st.floats(-1, 2, width=32) | st.sampled_from([np.nan, np.float32(0.5)])),
    )
)


@settings(deadline=None, max_examples=150)
@given(findings)
def test_cleaned_faces_are_finite_inside_and_sorted(raw):
    faces = clean_detections(*raw, width=100, height=60)
    for column in (faces.boxes, faces.points, faces.scores):
        assert column.dtype == np.float32
        assert np.isfinite(column).all()
    x0, y0, x1, y1 = faces.boxes.T
    assert ((x0 >= 0) & (y0 >= 0) & (x1 <= 100) & (y1 <= 60) & (x1 - x0 >= 1) & (y1 - y0 >= 1)).all()
    assert ((faces.scores >= 0) & (faces.scores <= 1)).all()
    keys = [(-score, x, y) for score, x, y in zip(faces.scores, x0, y0, strict=True)]
    assert keys == sorted(keys)


def test_a_sound_face_passes_unchanged():
    box, points = np.array([[10, 10, 30, 40.0]]), np.arange(10.0).reshape(1, 5, 2)
    faces = clean_detections(box, points, np.array([0.7]), width=100, height=60)
    assert faces.boxes.tolist() == box.tolist()
    assert faces.points.tolist() == points.tolist()
    assert faces.scores[0] == np.float32(0.7)


def test_points_outside_the_picture_stay_where_they_are():
    faces = clean_detections(np.array([[-20, 0, 30, 40.0]]), np.full((1, 5, 2), -3.0), np.array([0.7]), width=100, height=60)
    assert faces.boxes[0, 0] == 0
    assert (faces.points == -3).all()


def test_equal_scores_are_told_apart_by_place():
    boxes = np.array([[20, 5, 40, 50], [10, 9, 40, 50], [10, 2, 40, 50.0]])
    faces = clean_detections(boxes, np.zeros((3, 5, 2)), np.full(3, 0.5), width=100, height=60)
    assert faces.boxes[:, :2].tolist() == [[10, 2], [10, 9], [20, 5]]


def test_overlap_is_intersection_over_union():
    a = np.array([[0, 0, 10, 10.0], [0, 0, 0, 0]])
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30.0], [0, 0, 0, 0]])
    assert np.allclose(box_iou(a, b), [[1, 1 / 3, 0, 0], [0, 0, 0, 0]])


boxes = st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50), st.floats(1, 40), st.floats(1, 40), st.floats(0, 1)), max_size=12)


@settings(deadline=None, max_examples=100)
@given(boxes, st.floats(0.1, 0.9))
def test_suppression_keeps_the_best_of_each_crowd(rows, limit):
    raw = np.array(rows, np.float64).reshape(-1, 5)
    corners, scores = np.concatenate([raw[:, :2], raw[:, :2] + raw[:, 2:4]], axis=1), raw[:, 4]
    kept = nms(corners, scores, limit)
    assert sorted(scores[kept], reverse=True) == list(scores[kept])
    between = box_iou(corners[kept], corners[kept]) - np.eye(len(kept))
    assert (between < limit).all()
    for lost in set(range(len(raw))) - set(kept.tolist()):
        rivals = kept[box_iou(corners[[lost]], corners[kept])[0] >= limit]
        assert scores[rivals].max() >= scores[lost]


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [
        (100, 80, 200),
        (480, 640, 1280),
        (700, 1024, 1280),
        (1280, 300, 1280),
        (2560, 900, 1280),
        (3000, 4000, 1920),
        (3, 5000, 1920),
        (1, 1, 2),
    ],
)
def test_the_finest_look_suits_the_picture(height, width, side):
    expected = 1.5 * 1280 if side == 1920 else side
    assert finest_side(height, width) == expected


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 400))
def test_a_look_knows_the_way_back(height, width, side):
    picture = np.zeros((height, width, 3), np.uint8)
    ((look, back),) = pyramid_levels(picture, [side])
    assert max(look.shape[:2]) == side
    (level,) = plan_levels(height, width, [side])
    dropped = np.array([width, height]) - [look.shape[1] * back[0], look.shape[0] * back[1]]
    assert ((dropped > -0.01) & (dropped < level.cell - 0.99)).all()  # rows and columns that fill no square


@settings(deadline=None, max_examples=40)
@given(
    st.integers(40, 900),
    st.integers(40, 900),
    st.floats(0.2, 0.8),
    st.floats(0.2, 0.8),
    st.lists(st.integers(20, 700), min_size=1, max_size=3),
)
def test_what_is_in_a_picture_is_in_its_place_in_every_level(height, width, x, y, sides):
    """The middle of a bright spot, to half a pixel of the level."""
    spread = min(height, width) / 8
    down, across = np.mgrid[:height, :width]
    spot = 250 * np.exp(-((across + 0.5 - x * width) ** 2 + (down + 0.5 - y * height) ** 2) / (2 * spread**2))
    picture = np.repeat(spot.astype(np.uint8)[..., None], 3, 2)
    for look, back in pyramid_levels(picture, sorted(sides, reverse=True)):
        if min(look.shape[:2]) < 20:
            continue
        weights = look[..., 0].astype(np.float64) ** 4  # little of it lies beyond an edge
        down, across = np.mgrid[: look.shape[0], : look.shape[1]]
        found = np.array([((across + 0.5) * weights).sum(), ((down + 0.5) * weights).sum()]) / weights.sum() * back
        wanted = np.array([x * width, y * height])
        assert (np.abs(found - wanted) <= np.maximum(0.5 * np.asarray(back), 0.5)).all()


@pytest.mark.parametrize(
    ("shape", "side", "cell"), [((480, 640), 640, 1), ((480, 640), 400, 1), ((3000, 4000), 1200, 3), ((3024, 4032), 320, 12)]
)
def test_squares_are_averaged_before_samples_are_taken(shape, side, cell):
    """So that no pixel is left out: stripes of one pixel become grey."""
    (level,) = plan_levels(*shape, [side])
    assert level.cell == cell
    stripes = np.zeros((*shape, 3), np.uint8)
    stripes[:, ::2] = 255
    ((look, _),) = pyramid_levels(stripes, [side])
    assert look.std() < (1.01 if cell == 1 else 0.4) * stripes.std()
    if cell % 2 == 0:
        assert np.abs(look.astype(int) - 128).max() <= 1


def test_a_level_is_made_from_the_one_before_unless_that_was_enlarged():
    assert [level.from_picture for level in plan_levels(300, 400, [640, 320, 160])] == [True, True, False]


@given(st.integers(1, 60_000), st.sampled_from([MAX_SIDE, 640, 2000]))
def test_a_picture_that_came_shrunk_is_looked_at_alike(longest, max_side):
    """Decoders halve; whatever they leave is at least as long as it takes for the same finest look."""
    side = shrinkable_side(max_side)
    for factor in (2, 4, 8):
        if longest >= factor * side:
            assert finest_side(-(-longest // factor), 1, max_side) == finest_side(longest, 1, max_side)


@given(st.integers(1, 60_000), st.integers(1, 3), st.integers(1, 1000))
def test_levels_are_halved_until_they_are_coarse_enough(finest, looks, coarsest):
    sides = halved(finest, looks, coarsest)
    assert sides[0] == finest
    assert all(next_ == max(1, side // 2) for side, next_ in itertools.pairwise(sides))
    assert len(sides) >= looks
    assert sides[-1] <= max(coarsest, finest >> looks - 1)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 5000), st.integers(1, 5000))
def test_tiles_cover_a_level_and_have_every_face_whole(height, width):
    level = np.zeros((height, width, 3), np.uint8)
    parts, covered = list(tiles(level, np.ones(2, np.float32))), np.zeros((height, width), bool)
    assert len(parts) == 1 or max(height, width) > LIMIT_SIDE
    assert sum(part.pixels.shape[0] for part in parts if part.origin[0] == 0) <= height + (len(parts) - 1) * (OVERLAP + 1)
    for part in parts:
        left, top = part.origin.astype(int)
        rows, columns = part.pixels.shape[:2]
        assert max(rows, columns) <= LIMIT_SIDE
        covered[top : top + rows, left : left + columns] = True
    assert covered.all()
    room = OVERLAP - 2 * EDGE - 1
    box = np.array([width - room, height - room, width, height]) * np.random.default_rng(height).uniform(0, 1)
    box = np.array([max(box[0], 0), max(box[1], 0), max(box[0], 0) + min(room, width), max(box[1], 0) + min(room, height)], np.float32)
    box = np.minimum(box, np.array([width, height, width, height], np.float32))
    inside = [
        len(part.placed(np.concatenate([box - np.tile(part.origin, 2), np.zeros(11, np.float32)])[None])) == 1
        and (box[2:] - part.origin <= part.pixels.shape[1::-1]).all()
        and (box[:2] >= part.origin).all()
        for part in parts
    ]
    assert any(inside)
