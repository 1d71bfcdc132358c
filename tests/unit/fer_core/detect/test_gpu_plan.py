"""What is looked at on the GPU against what the reference looks at."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.detect.builtin.detector import LARGEST_SIDE
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
