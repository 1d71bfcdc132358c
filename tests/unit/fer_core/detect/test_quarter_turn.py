"""Turning pictures and coordinates by quarters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.detect.quarter_turn import turned_faces, turned_picture, turned_points, turned_shape
from fer_core.types import Faces

SHAPES = st.tuples(st.integers(1, 5000), st.integers(1, 5000))
TURNS = st.integers(-5, 5)


def faces_in(shape: tuple[int, int], places: list[tuple[float, float, float, float]]) -> Faces:
    """Boxes between pairs of places in the picture, as shares of its sides; points around them."""
    height, width = shape
    corners = np.array(places, np.float32).reshape(-1, 2, 2) * np.array([width, height], np.float32)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    points = boxes[:, None, :2] + np.array([[1, 2], [8, 2], [4, 5], [2, 9], [7, 9]], np.float32)
    return Faces(boxes, points, np.linspace(0.9, 0.5, len(boxes), dtype=np.float32))


@given(SHAPES, TURNS, st.lists(st.tuples(*[st.floats(0, 1, width=32)] * 4), max_size=4))
def test_there_and_back_is_the_identity(shape, turns, places):
    faces = faces_in(shape, places)
    there = turned_faces(faces, turns, shape)
    back = turned_faces(there, -turns, turned_shape(shape, turns))
    assert np.allclose(back.boxes, faces.boxes, atol=2e-3)  # a float32 has so much room at 5,000
    assert np.allclose(back.points, faces.points, atol=2e-3)
    assert np.array_equal(back.scores, faces.scores)
    assert turned_shape(turned_shape(shape, turns), -turns) == shape
    height, width = turned_shape(shape, turns)
    assert (there.boxes >= 0).all()
    assert (there.boxes <= np.array([width, height, width, height])).all()
    assert (there.boxes[:, :2] <= there.boxes[:, 2:]).all()


@given(SHAPES, TURNS, TURNS, st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_two_turns_are_their_sum(shape, one, other, place):
    point = np.array([place[0] * shape[1], place[1] * shape[0]])
    twice = turned_points(turned_points(point, one, shape), other, turned_shape(shape, one))
    assert np.allclose(twice, turned_points(point, one + other, shape), atol=1e-6)


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), TURNS, st.data())
def test_a_point_stays_on_its_pixel(shape, turns, data):
    """The middle of each pixel is, after the turn, the middle of the pixel with that value."""
    pixels = np.arange(shape[0] * shape[1] * 3, dtype=np.uint8).reshape(*shape, 3)
    row, column = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    turned = turned_picture(pixels, turns)
    assert turned.shape[:2] == turned_shape(shape, turns)
    assert turned.flags["C_CONTIGUOUS"]
    x, y = turned_points(np.array([column + 0.5, row + 0.5]), turns, shape)
    assert np.array_equal(turned[int(y), int(x)], pixels[row, column])


@pytest.mark.parametrize(
    ("turns", "box", "eye"),
    [(1, [5, 70, 25, 90], [6, 88]), (2, [70, 25, 90, 45], [88, 44]), (3, [25, 10, 45, 30], [44, 12]), (4, [10, 5, 30, 25], [12, 6])],
)
def test_a_face_near_the_left_upper_corner(turns, box, eye):
    points = np.array([[[12, 6], [20, 6], [16, 12], [13, 18], [19, 18]]], np.float32)
    turned = turned_faces(Faces(np.array([[10, 5, 30, 25]], np.float32), points, np.ones(1, np.float32)), turns, (50, 100))
    assert turned.boxes.tolist() == [box]
    assert turned.points[0, 0].tolist() == eye  # the left eye comes first, however the face lies
    assert (turned.boxes.dtype, turned.points.dtype) == (np.float32, np.float32)
