"""Cut-outs and crops of many faces at once against the reference, one face after another."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.align.aligner import TEMPLATE, align, similarity
from fer_core.detect.builtin.refinement import CONFIRMING, PLACING, _cut
from fer_core.gpu.alignment import align_faces, similarities
from fer_core.gpu.integral import Pictures, Windows, area_downsample
from fer_core.gpu.plan import plan_batch
from fer_core.gpu.refinement import cut_out
from fer_core.types import Faces


def smooth(height, width, seed=0):
    """A photograph's kind of detail: noise of several scales."""
    drawn = np.random.default_rng(seed)
    total = np.zeros((height, width, 3), np.float32)
    for side in (3, 9, 40):
        total += cv2.resize(drawn.normal(0, 40, (side, side, 3)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(total + 120 + drawn.normal(0, 5, total.shape), 0, 255).astype(np.uint8)


def on_device(*pictures):
    """In the order of their sizes, as an upload has them."""
    plan = plan_batch([picture.shape[:2] for picture in pictures], 4096)
    assert list(plan.order) == list(range(len(pictures)))
    flat = torch.from_numpy(np.concatenate([picture.reshape(-1, 3) for picture in pictures]))
    return Pictures.of(flat, plan.groups, torch.from_numpy(plan.sizes))


@pytest.fixture(scope="module")
def two():
    return smooth(90, 300, 1), smooth(1400, 1100, 2)


@given(st.integers(0, 80), st.integers(0, 280), st.integers(1, 300), st.integers(1, 300), st.floats(0.05, 1))
@settings(max_examples=60, deadline=None)
def test_windows_shrink_as_in_opencv(y, x, height, width, scale):
    pixels = smooth(90, 300, 1)
    high = min(300, x + width), min(90, y + height)
    size = max(1, round((high[0] - x) * scale)), max(1, round((high[1] - y) * scale))
    windows = Windows(torch.tensor([0]), torch.tensor([[x, y]]), torch.tensor([high]), torch.tensor([size]))
    got = area_downsample(on_device(pixels), windows, 300)[0, :, : size[1], : size[0]].permute(1, 2, 0).numpy()
    wanted = cv2.resize(pixels[y : high[1], x : high[0]], size, interpolation=cv2.INTER_AREA)
    different = np.abs(got - wanted)
    assert different.max() <= 1
    assert different.mean() < 0.02 + 2 / different.size


def test_sums_stay_exact_in_large_pictures():
    """White, at the far end: a table in single precision would be off by levels."""
    pixels = np.full((3000, 3000, 3), 255, np.uint8)
    windows = Windows(torch.tensor([0]), torch.tensor([[2400, 2400]]), torch.tensor([[3000, 3000]]), torch.tensor([[7, 7]]))
    small = area_downsample(on_device(pixels), windows, 8)
    assert (small[:, :, :7, :7] == 255).all()
    assert (small[:, :, 7] == 0).all()


BOXES = [
    (30, 20, 70, 60),
    (-40, -30, 40, 50),
    (250, 60, 340, 140),
    (100, 40, 101, 41),
    (0, 0, 300, 90),
    (900, 1200, 1300, 1500),
    (100, 200, 1000, 1300),
]


@pytest.mark.parametrize("size", [CONFIRMING, PLACING])
@pytest.mark.parametrize("number", [0, 1])
def test_cut_outs_are_the_references(two, number, size):
    pictures = on_device(*two)
    boxes = torch.tensor(BOXES, dtype=torch.float64)
    cuts = cut_out(pictures, boxes, torch.full((len(BOXES),), number), size)
    for index, box in enumerate(BOXES):
        wanted = _cut(two[number], np.array(box, np.float64), size)
        different = np.abs(cuts.pixels[index].permute(1, 2, 0).numpy() - wanted.pixels)
        assert cuts.scale[index].item() == pytest.approx(wanted.scale)
        assert np.allclose(cuts.centre[index].numpy(), wanted.centre)
        assert np.quantile(different, 0.99) <= 2, box  # OpenCV places pixels to a 32nd
        assert different.mean() < 0.6


def points_of(centre, side, turn):
    """(5, 2) the template's points turned by degrees, `side` pixels for the crop's 112."""
    radians, around = np.radians(turn), (TEMPLATE - 56) * side / 112
    rotation = np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
    return (around @ rotation.T + centre).astype(np.float32)


PLACES = [
    ((60, 45), 60, 10),
    ((150, 40), 112, -30),
    ((10, 5), 90, 0),
    ((290, 85), 200, 45),
    ((550, 700), 230, 12),
    ((550, 700), 900, 170),
    ((60, 1300), 400, -80),
]


@pytest.mark.parametrize("number", [0, 1])
def test_crops_are_the_references(two, number):
    points = np.stack([points_of(*place) for place in PLACES])
    faces = Faces(np.zeros((len(PLACES), 4), np.float32), points, np.zeros(len(PLACES), np.float32))
    got = align_faces(on_device(*two), torch.from_numpy(points), torch.full((len(PLACES),), number)).numpy()
    for index, wanted in enumerate(align(two[number], faces)):
        different = np.abs(got[index].astype(int) - wanted)
        assert np.quantile(different, 0.99) <= 3, PLACES[index]
        assert different.mean() < 0.6


@given(st.integers(0, 10_000), st.floats(0.1, 100))
@settings(max_examples=50, deadline=None)
def test_similarities_are_the_references(seed, spread):
    points = (np.random.default_rng(seed).normal(0, spread, (3, 5, 2)) + 200).astype(np.float32)
    onto = similarities(torch.from_numpy(points))
    for index in range(3):
        matrix = similarity(points[index])
        assert onto.a[index].numpy() == pytest.approx(matrix[:, 0], rel=1e-9, abs=1e-12)
        assert onto.b[index].numpy() == pytest.approx(matrix[:, 2], rel=1e-9, abs=1e-9)


def test_points_without_a_similarity_give_black(two):
    points = np.stack([np.full((5, 2), 40), np.full((5, 2), np.nan), points_of((60, 45), 60, 0)]).astype(np.float32)
    points[1, 0] = np.inf
    got = align_faces(on_device(*two), torch.from_numpy(points), torch.zeros(3, dtype=torch.int64))
    assert (got[:2] == 0).all()
    assert got[2].float().std() > 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_pictures(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pictures = on_device(pixels)
    points = np.stack([points_of((shape[1] / 2, shape[0] / 2), side, 5) for side in (3, 100, 2000)])
    faces = Faces(np.zeros((3, 4), np.float32), points, np.zeros(3, np.float32))
    got = align_faces(pictures, torch.from_numpy(points), torch.zeros(3, dtype=torch.int64)).numpy()
    assert np.abs(got.astype(int) - align(pixels, faces)).mean() < 2
    cuts = cut_out(
        pictures, torch.tensor([[-5.0, -5, 8, 8], [0, 0, 1, 1]], dtype=torch.float64), torch.zeros(2, dtype=torch.int64), PLACING
    )
    for index, box in enumerate(([-5.0, -5, 8, 8], [0.0, 0, 1, 1])):
        assert np.abs(cuts.pixels[index].permute(1, 2, 0).numpy() - _cut(pixels, np.array(box), PLACING).pixels).mean() < 2


def test_the_company_changes_nothing(two):
    pictures = on_device(*two)
    points = torch.from_numpy(np.stack([points_of(*place) for place in PLACES]))
    owner = torch.tensor([0, 1, 0, 1, 1, 1, 0])
    together = align_faces(pictures, points, owner)
    for index in range(len(points)):
        assert (align_faces(pictures, points[index : index + 1], owner[index : index + 1]) == together[index]).all()
