"""Alignment: the similarity is exact, the pixels follow it to within half a pixel, and no input breaks it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.align import TEMPLATE, align, align_one, similarity
from fer_core.types import CROP_SIZE, Faces


def moved(points, matrix):
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def turn(scale, degrees, x, y):
    a = scale * np.exp(1j * np.radians(degrees))
    return np.array([[a.real, -a.imag, x], [a.imag, a.real, y]])


def blobs(height, width, to_template):
    """A smooth picture whose pixel (x, y) shows a pattern laid out in template coordinates: known at every point, no resampling."""
    ys, xs = np.mgrid[:height, :width]
    u, v = moved(np.stack([xs, ys], axis=-1).astype(np.float64), to_template).transpose(2, 0, 1).astype(np.float64)
    return np.stack([127.5 + 100 * np.sin(u / 9) * np.cos(v / 11), 127.5 + 100 * np.cos(u / 13 + v / 17), 40 + u / 2 + v / 2], -1).clip(
        0, 255
    )


def inverse(matrix):
    square = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    return square[:2]


def shift_between(crop, truth):
    """(dx, dy) in pixels by which `crop` is displaced against `truth`: one least-squares step of optical flow."""
    inner = (slice(8, -8), slice(8, -8))
    gy, gx = np.gradient(truth.astype(np.float64), axis=(0, 1))
    system = np.stack([gx[inner].ravel(), gy[inner].ravel()], axis=1)
    return np.linalg.lstsq(system, (truth.astype(np.float64) - crop.astype(np.float64))[inner].ravel(), rcond=None)[0]


@settings(deadline=None, max_examples=60)
@given(st.floats(0.05, 20), st.floats(-180, 180), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_finds_back_the_matrix_that_moved_the_template(scale, degrees, x, y):
    placed = moved(TEMPLATE.astype(np.float64), turn(scale, degrees, x, y))
    found = similarity(placed)
    assert np.abs(moved(placed.astype(np.float64), found) - TEMPLATE).max() < 0.01
    assert np.hypot(found[0, 0], found[1, 0]) == pytest.approx(1 / scale, rel=1e-3)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=5, max_size=5))
def test_similarity_is_the_best_of_its_neighbours(offsets):
    points = TEMPLATE + np.array(offsets, np.float32)
    if np.ptp(points, axis=0).max() < 1:
        return
    found = similarity(points)

    def error(matrix):
        return np.square(points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE).sum()

    for nudge in np.eye(4) * 1e-3:
        a, b, x, y = nudge
        for sign in (1, -1):
            other = found + sign * np.array([[a, -b, x], [b, a, y]])
            assert error(found) <= error(other) + 1e-6


def test_similarity_never_mirrors():
    mirrored = TEMPLATE * np.array([-1, 1], np.float32)
    assert np.linalg.det(similarity(mirrored)[:, :2]) > 0


@settings(deadline=None, max_examples=25)
@given(st.floats(0.4, 8), st.floats(-40, 40))
def test_pixels_follow_the_points_to_within_half_a_pixel(scale, degrees):
    """Also where the face is shrunk by the area filter (scale above 2)."""
    size = int(2.2 * CROP_SIZE * scale)
    placing = turn(scale, degrees, 0, 0)
    placing[:, 2] = size / 2 - placing[:, :2] @ np.array([56, 56])
    picture = np.rint(blobs(size, size, inverse(placing))).astype(np.uint8)
    crop = align_one(picture, moved(TEMPLATE.astype(np.float64), placing))
    truth = blobs(CROP_SIZE, CROP_SIZE, turn(1, 0, 0, 0))
    assert np.abs(shift_between(crop, truth)).max() < 0.25
    assert np.abs(crop[8:-8, 8:-8].astype(float) - truth[8:-8, 8:-8]).mean() < 2.5


def test_shrinking_does_not_alias():
    """A fine checkerboard becomes grey, not moire."""
    ys, xs = np.mgrid[:900, :900]
    picture = np.repeat((((xs // 2 + ys // 2) % 2) * 255).astype(np.uint8)[..., None], 3, axis=2)
    crop = align_one(picture, moved(TEMPLATE.astype(np.float64), turn(8, 10, 0, 0)))
    assert crop[10:-10, 10:-10].std() < 12
    assert abs(crop[10:-10, 10:-10].mean() - 127.5) < 3


def test_outside_the_picture_its_border_is_repeated():
    picture = np.full((80, 80, 3), 200, np.uint8)
    assert (align_one(picture, TEMPLATE - 60) == 200).all()
    assert (align_one(picture, TEMPLATE * 30 - 1000) == 200).all()
    assert (align_one(picture, TEMPLATE + 5000) == 200).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)])
def test_tiny_and_thin_pictures_give_crops(shape):
    picture = np.full((*shape, 3), 90, np.uint8)
    for factor in (0.01, 1, 40):
        assert (align_one(picture, TEMPLATE * np.float32(factor)) == 90).all()


@pytest.mark.parametrize("points", [np.full((5, 2), 7.0), np.full((5, 2), np.nan), np.full((5, 2), np.inf), np.full((5, 2), 1e30)])
def test_points_without_a_similarity_give_a_black_crop(points):
    picture = np.full((60, 60, 3), 255, np.uint8)
    assert (align_one(picture, points.astype(np.float32)) == 0).all()
    with pytest.raises(ValueError, match=r"coincide|finite"):
        similarity(points.astype(np.float32))


def test_every_face_is_cropped_in_order():
    assert align(np.zeros((9, 9, 3), np.uint8), Faces.none()).shape == (0, CROP_SIZE, CROP_SIZE, 3)
    picture = np.random.default_rng(1).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    points = np.stack([TEMPLATE, TEMPLATE * 2, TEMPLATE[::-1] + 30]).astype(np.float32)
    crops = align(picture, Faces(np.zeros((3, 4), np.float32), points, np.ones(3, np.float32)))
    assert [np.array_equal(crop, align_one(picture, five)) for crop, five in zip(crops, points, strict=True)] == [True] * 3
    assert np.array_equal(crops[0], picture[:CROP_SIZE, :CROP_SIZE])
