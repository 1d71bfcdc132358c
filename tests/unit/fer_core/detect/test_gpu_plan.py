"""What is looked at on the GPU against what the reference looks at."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.detect.builtin.identity import LARGEST_SIDE
from fer_core.detect.builtin.tiling import _spans, tile_image
from fer_core.gpu.plan import plan_batch, spans
from fer_core.gpu.pyramid import batch_tiles

SHAPES = [(300, 400), (1, 1), (700, 900), (300, 400), (1, 5000), (1500, 700), (33, 31), (300, 400)]


def pictures(shapes):
    return [np.random.default_rng(number).integers(0, 256, (*shape, 3), np.uint8) for number, shape in enumerate(shapes)]


def by_geometry(shape, origin, scale, cut):
    return (tuple(shape), *np.round([*origin, *scale, *cut], 3).tolist())


@given(st.integers(1, 20_000))
@settings(max_examples=100, deadline=None)
def test_spans_are_those_of_the_reference(length):
    assert spans(length) == _spans(length)


@pytest.mark.parametrize("largest", [LARGEST_SIDE, 400])
def test_pieces_are_those_of_the_reference(largest):
    shown = pictures(SHAPES)
    plan = plan_batch(SHAPES, largest)
    flat = torch.from_numpy(np.concatenate([shown[number].reshape(-1, 3) for number in plan.order]))
    seen = [{} for _ in SHAPES]
    for each, found in zip(plan.passes, batch_tiles(plan, flat, torch.float32), strict=True):
        for picture, geometry, pixels in zip(each.picture, each.geometry, found.pixels, strict=True):
            key = by_geometry(pixels.shape[1:], geometry[:2], geometry[2:4], geometry[4:])
            seen[plan.order[picture]][key] = pixels.permute(1, 2, 0).numpy()
    for pixels, own in zip(shown, seen, strict=True):
        wanted = list(tile_image(pixels, largest))
        assert len(own) == len(wanted)
        for piece in wanted:
            different = np.abs(own[by_geometry(piece.pixels.shape[:2], piece.origin, piece.scale, piece.cut)] - piece.pixels)
            assert different.max() <= 1
            assert different.mean() < 0.05


def test_each_picture_has_a_finest_level_of_its_own():
    finest = [200, None, 500, 640, 900, 1500, None, 200]
    plan = plan_batch(SHAPES, LARGEST_SIDE, finest)
    assert [(group.height, group.width, group.side, group.count) for group in plan.groups if group.height == 300] == [
        (300, 400, 200, 2),
        (300, 400, 640, 1),
    ]
    for number, (shape, side) in enumerate(zip(SHAPES, finest, strict=True)):
        wanted = sorted(
            by_geometry(piece.pixels.shape[:2], piece.origin, piece.scale, piece.cut)
            for piece in tile_image(np.zeros((*shape, 3), np.uint8), LARGEST_SIDE, side)
        )
        place = plan.order.index(number)
        geometry = [(each.shape, row) for each in plan.passes for row in each.geometry[each.picture == place]]
        assert sorted(by_geometry(shape, row[:2], row[2:4], row[4:]) for shape, row in geometry) == wanted


def test_slots_are_each_pieces_own():
    plan = plan_batch(SHAPES, LARGEST_SIDE)
    taken = [(int(picture), int(slot)) for each in plan.passes for picture, slot in zip(each.picture, each.slot, strict=True)]
    assert len(set(taken)) == len(taken)
    assert max(slot for _, slot in taken) == plan.pieces - 1


def test_pictures_of_one_size_are_one_group():
    plan = plan_batch(SHAPES, LARGEST_SIDE)
    assert [(group.height, group.width, group.count) for group in plan.groups if group.count > 1] == [(300, 400, 3)]
    assert sorted(plan.order) == list(range(len(SHAPES)))
    assert [SHAPES[number] for number in plan.order] == [tuple(size) for size in plan.sizes.tolist()]
