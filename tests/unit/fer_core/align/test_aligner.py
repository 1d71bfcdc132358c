"""Alignment: the similarity is exact, the pixels follow it to within half a pixel, and no input breaks it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.align.aligner import TEMPLATE, align, align_one, similarity, with_luma
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


@settings(deadline=None, max_examples=25)
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


@settings(deadline=None, max_examples=10)
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


DOTS = np.array([[x, y] for y in (16, 40, 64, 88) for x in (14, 35, 56, 77, 98)], np.float64)
"""Where soft dots are drawn, in template coordinates."""
SOFT, REACH, SKIN = 3.0, 9, 60.0
"""Deviation of a dot, where it ends, and the grey around it."""

places = st.tuples(
    st.floats(np.log(0.3), np.log(8)).map(np.exp),
    st.floats(-180, 180),
    st.tuples(st.integers(1, 420), st.integers(1, 420)),
    st.tuples(st.floats(-0.3, 1.3), st.floats(-0.3, 1.3)),
)
"""Scale and angle of a face; height and width of the picture; its middle in parts of them, also outside."""


def placed(place):
    """Shape of the picture, and the similarity that puts the template into it."""
    scale, degrees, shape, middle = place
    placing = turn(scale, degrees, 0, 0)
    placing[:, 2] = np.array(middle) * shape[::-1] - placing[:, :2] @ np.array([56, 56])
    return shape, placing


def laid_out(pattern, height, width, placing):
    """The picture (H, W, 3) whose pixels show a pattern of template coordinates: drawn, not resampled."""
    ys, xs = np.mgrid[:height, :width].astype(np.float64)
    back = inverse(placing)
    grey = pattern(np.stack([xs, ys], axis=-1) @ back[:, :2].T + back[:, 2])
    return np.repeat(np.rint(grey).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def dots(at):
    return SKIN + sum((120 + 3 * number) * np.exp(-np.square(at - dot).sum(-1) / (2 * SOFT**2)) for number, dot in enumerate(DOTS))


def waves(at):
    """Changes by less than 14 grey levels a pixel."""
    u, v = at[..., 0], at[..., 1]
    return 127.5 + 60 * np.sin(u / 9) * np.cos(v / 11) + 50 * np.cos(u / 13 + v / 17)


@settings(deadline=None, max_examples=30)
@given(places)
def test_a_known_warp_is_undone_to_within_half_a_pixel(place):
    """Centroid of each dot that lies whole in the picture. Seen at most 0.05 px off."""
    (height, width), placing = placed(place)
    crop = align_one(laid_out(dots, height, width, placing), moved(TEMPLATE.astype(np.float64), placing))
    there = DOTS @ placing[:, :2].T + placing[:, 2]
    whole = ((there >= REACH * place[0]) & (there <= np.array([width, height]) - 1 - REACH * place[0])).all(axis=1)
    ys, xs = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1]
    for x, y in DOTS[whole].astype(int):
        light = (crop[y - REACH : y + REACH + 1, x - REACH : x + REACH + 1, 1] - SKIN).clip(0)
        assert light.max() > 80
        assert np.hypot((light * xs).sum(), (light * ys).sum()) / light.sum() < 0.25


@settings(deadline=None, max_examples=25)
@given(places)
def test_what_is_outside_is_the_nearest_of_the_border(place):
    """Everywhere in the crop, for faces partly or wholly outside, to within the grey levels that half a pixel makes."""
    (height, width), placing = placed(place)
    picture, points = laid_out(waves, height, width, placing), moved(TEMPLATE.astype(np.float64), placing)
    before = picture.copy()
    crop = align_one(picture, points)
    ys, xs = np.mgrid[:CROP_SIZE, :CROP_SIZE].astype(np.float64)
    seen = (np.stack([xs, ys], axis=-1) @ placing[:, :2].T + placing[:, 2]).clip(0, [width - 1, height - 1])
    back = inverse(placing)
    truth = waves(seen @ back[:, :2].T + back[:, 2])
    # half a pixel is 7 levels: that much a shrunk picture's border is drawn inwards, being a mean over a crop pixel's width
    assert np.abs(crop[..., 0] - truth).max() < 8
    assert np.abs(crop[..., 0] - truth).mean() < 4
    assert np.array_equal(align_one(picture, points), crop)
    assert np.array_equal(picture, before)


@settings(deadline=None, max_examples=15)
@given(places, st.integers(1, 60))
def test_repeating_the_border_beforehand_changes_little(place, width):
    """A face at the border is cropped as if the picture went on with its border's colours."""
    shape, placing = placed(place)
    picture, points = laid_out(waves, *shape, placing), moved(TEMPLATE.astype(np.float64), placing)
    wider = np.pad(picture, ((width, width), (width, width), (0, 0)), mode="edge")
    apart = np.abs(align_one(picture, points).astype(int) - align_one(wider, points + width))
    assert apart.max() < 8
    assert apart.mean() < 4


def apart(crop, other):
    """Largest difference in grey levels."""
    return int(np.abs(crop.astype(int) - other).max())


@pytest.mark.parametrize("long", [32766, 32767, 40_000])
@pytest.mark.parametrize("upright", [False, True])
def test_panoramas_longer_than_opencv_counts_are_cropped(long, upright):
    """Regression: the warp refuses sides of more than 32,766 pixels, and the whole picture was lost as unreadable."""
    picture = np.random.default_rng(2).integers(0, 256, (130, long, 3), dtype=np.uint8)
    x = long - 140
    corner = np.array([x, 9], np.float32)
    if upright:
        picture, corner = np.ascontiguousarray(picture.transpose(1, 0, 2)), corner[::-1]
    left, top = corner.astype(int)
    whole = picture[top : top + CROP_SIZE, left : left + CROP_SIZE]
    assert apart(align_one(picture, TEMPLATE + corner), whole) <= 1  # OpenCV 5 rounds once more than 4 does
    around = np.ascontiguousarray(picture[max(0, top - 100) : top + 250, max(0, left - 100) : left + 250])
    offset = corner - np.maximum(corner - 100, 0)
    assert apart(align_one(picture, TEMPLATE * 0.7 + corner), align_one(around, (TEMPLATE * 0.7 + offset).astype(np.float32))) <= 1


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_finer_luma_replaces_that_of_a_crop_and_leaves_its_colours(seed, depth):
    rng = np.random.default_rng(seed)
    crops = np.clip(128 + rng.integers(-depth, depth + 1, (2, CROP_SIZE, CROP_SIZE, 3)), 0, 255).astype(np.uint8)
    luma = rng.integers(70, 186, (2, CROP_SIZE, CROP_SIZE), np.uint8)
    finer = with_luma(crops, luma)
    for index in range(2):
        assert np.abs(cv2.cvtColor(finer[index], cv2.COLOR_RGB2GRAY).astype(int) - luma[index]).max() <= 1
        before, after = (cv2.cvtColor(each, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(int) for each in (crops[index], finer[index]))
        assert np.abs(before - after).max() <= 2


def test_luma_is_cut_as_colours_are():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (300, 400), np.uint8)
    faces = Faces(
        np.zeros((2, 4), np.float32), np.stack([TEMPLATE * 1.5 + 20, np.full((5, 2), np.nan, np.float32)]), np.ones(2, np.float32)
    )
    cut = align(grey, faces)
    assert cut.shape == (2, CROP_SIZE, CROP_SIZE)
    assert np.array_equal(np.repeat(cut[..., None], 3, 3), align(np.repeat(grey[..., None], 3, 2), faces))
