"""How pictures are cut up for the built-in detector: every pixel of every look is in a piece, and pieces know their way back."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fer_core.detect.builtin.tiling import COARSEST, OVERLAP, SMALL, STEP, TILE, sides, tile_image
from fer_core.detect.image_pyramid import pyramid_levels

shapes = st.tuples(st.integers(1, 3000), st.integers(1, 300)).flatmap(lambda shape: st.sampled_from([shape, shape[::-1]]))
largests = st.sampled_from([300, 1280, 2000, 4096])


def by_look(picture, largest):
    """Each look with its scale and its pieces."""
    everything = list(tile_image(picture, largest))
    for look, scale in pyramid_levels(picture, sides(*picture.shape[:2], largest)):
        yield look, scale, [piece for piece in everything if np.array_equal(piece.scale, scale)]


def visible(piece, look):
    """Width and height of a piece without its filling."""
    across, down = (min(TILE, length - int(start)) for length, start in zip(look.shape[1::-1], piece.origin, strict=True))
    return across, down


@settings(deadline=None, max_examples=300)
@given(st.integers(1, 20000), st.integers(1, 20000), st.integers(1, 8192))
def test_looks_fall_from_the_finest_to_one_piece(height, width, largest):
    found, longest = sides(height, width, largest), max(height, width)
    assert all(later < earlier for earlier, later in pairwise(found))
    assert 1 <= found[0] <= largest
    assert found[0] == min(largest, longest) or (found[0] <= min(2 * longest, SMALL) and longest < SMALL)
    assert found[-1] <= 1.5 * COARSEST
    assert all(later * 3 > earlier for earlier, later in pairwise(found))  # no size of face falls between two looks


@settings(deadline=None, max_examples=60)
@given(shapes, largests, st.integers(0, 2**32 - 1))
@example((300, 3000), 4096, 0)
@example((3000, 300), 2000, 0)
def test_pieces_show_every_pixel_of_every_look(shape, largest, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)
    counted = 0
    for look, _, theirs in by_look(picture, largest):
        covered = np.zeros(look.shape[:2], int)
        for piece in theirs:
            (left, top), (across, down) = piece.origin.astype(int), visible(piece, look)
            assert np.array_equal(piece.pixels[:down, :across], look[top : top + down, left : left + across])
            assert (piece.pixels[down:] == 128).all()
            assert (piece.pixels[:, across:] == 128).all()
            assert piece.pixels.shape[0] % STEP == piece.pixels.shape[1] % STEP == 0
            assert piece.pixels.shape[0] - down < STEP
            assert piece.pixels.shape[1] - across < STEP
            assert max(piece.pixels.shape) <= TILE
            covered[top : top + down, left : left + across] += 1
        assert covered.min() >= 1
        counted += len(theirs)
    assert counted == len(list(tile_image(picture, largest)))


@settings(deadline=None, max_examples=60)
@given(shapes, largests)
@example((300, 3000), 4096)
@example((3000, 300), 2000)
def test_an_edge_is_cut_exactly_where_the_look_goes_on(shape, largest):
    for look, _, theirs in by_look(np.zeros((*shape, 3), np.uint8), largest):
        height, width = look.shape[:2]
        for piece in theirs:
            (left, top), (across, down) = piece.origin, visible(piece, look)
            assert piece.cut[0] == (0 if left else -np.inf)
            assert piece.cut[1] == (0 if top else -np.inf)
            assert piece.cut[2] == (np.inf if left + across == width else across)
            assert piece.cut[3] == (np.inf if top + down == height else down)


@settings(deadline=None, max_examples=50)
@given(st.integers(TILE + 1, 4096), st.integers(0, OVERLAP - 1), st.data())
def test_what_is_smaller_than_the_overlap_is_whole_in_some_piece(length, size, data):
    start = data.draw(st.integers(0, length - size))
    edges = [
        (piece.origin[0], piece.origin[0] + TILE) for piece in tile_image(np.zeros((8, length, 3), np.uint8), 4096) if piece.scale[0] == 1
    ]
    assert any(left <= start and start + size <= right for left, right in edges)


@settings(deadline=None, max_examples=60)
@given(shapes, largests, st.floats(0, 1), st.floats(0, 1))
@example((300, 3000), 4096, 0.5, 0.4)
@example((3000, 300), 2000, 0.7, 1.0)
def test_a_dot_is_found_again_from_every_piece_that_shows_it(shape, largest, down, across):
    height, width = shape
    y0, x0 = int(down * (height - 1)), int(across * (width - 1))
    y1, x1 = min(height, y0 + 12), min(width, x0 + 12)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y0:y1, x0:x1] = 255
    truth = np.array([x0 + x1, y0 + y1]) / 2
    for look, scale, theirs in by_look(picture, largest):
        shown = 0
        for piece in theirs:
            part = np.array(visible(piece, look))
            low, high = np.array([x0, y0]) / scale - piece.origin, np.array([x1, y1]) / scale - piece.origin
            if (low < np.where(piece.origin > 0, 1, -1)).any() or (high > np.where(np.isfinite(piece.cut[2:]), part - 1, part + 1)).any():
                continue
            light = piece.pixels[: part[1], : part[0], 0].astype(float)
            y, x = np.mgrid[: part[1], : part[0]] + 0.5
            middle = np.array([(x * light).sum(), (y * light).sum()]) / light.sum()
            assert (np.abs((middle + piece.origin) * scale - truth) <= np.maximum(scale, 1)).all()
            shown += 1
        assert shown


@pytest.mark.parametrize(
    ("height", "width", "count"),
    [
        (1, 1, 1),  # enlarged twice
        (1, 5000, 4 + 2 + 1 + 1),
        (5000, 1, 4 + 2 + 1 + 1),
        (480, 640, 1 + 1),
        (3000, 4000, 4 * 3 + 2 * 1 + 1 + 1),
    ],
)
def test_pictures_of_many_shapes(height, width, count):
    found = list(tile_image(np.full((height, width, 3), 7, np.uint8), 4096))
    assert len(found) == count
    last = found[-1]
    assert np.isinf(last.cut).all()  # the whole picture
    assert (last.pixels[0, 0] == 7).all()
    for piece in found:
        assert piece.pixels.dtype == np.uint8
        assert max(piece.pixels.shape) <= TILE


def test_a_large_picture_is_looked_at_as_it_is():
    picture = np.zeros((3000, 4000, 3), np.uint8)
    cv2.circle(picture, (3990, 2990), 4, (255, 255, 255), -1)
    finest = [piece for piece in tile_image(picture, 4096) if (piece.scale == 1).all()]
    lit = [piece for piece in finest if piece.pixels.max() == 255]
    assert len(finest) == 12
    assert len(lit) == 1
    assert tuple(lit[0].origin) == (4000 - TILE, 3000 - TILE)


def test_the_same_shapes_batch():
    """Tiles of one look have one shape."""
    found = list(tile_image(np.zeros((3000, 4000, 3), np.uint8), 4096))
    assert len({piece.pixels.shape for piece in found if (piece.scale == 1).all()}) == 1
