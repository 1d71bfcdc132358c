"""Resizing by matrix products against OpenCV."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.detect.image_pyramid import plan_levels, pyramid_levels
from fer_core.gpu.pyramid import resized
from fer_core.gpu.resize import area_weights, bilinear_to, downsample_to

CPU = torch.device("cpu")


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def by_products(pixels, height, width, shrink):
    planar = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    return (downsample_to if shrink else bilinear_to)(planar, height, width)[0].permute(1, 2, 0).numpy()


def differences(pixels, height, width, shrink):
    method = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    return np.abs(by_products(pixels, height, width, shrink) - cv2.resize(pixels, (width, height), interpolation=method))


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.02, 1), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_shrinking_is_opencvs(height, width, scale, seed):
    size = max(1, round(height * scale)), max(1, round(width * scale))
    different = differences(picture(height, width, seed), *size, shrink=True)
    assert different.max() <= 1
    assert different.mean() < 0.02 + 2 / different.size


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_whole_factors_round_as_opencv_does(factor):
    """Two by two has a rule of its own there: halves go up."""
    assert differences(picture(40 * factor, 30 * factor), 40, 30, shrink=True).max() == 0


@pytest.mark.parametrize("size", [((1, 5000), (1, 320)), ((5000, 1), (320, 1)), ((577, 866), (230, 346)), ((1333, 2000), (533, 800))])
def test_looks_at_real_sizes(size):
    (height, width), target = size
    different = differences(picture(height, width), *target, shrink=True)
    assert different.max() <= 1
    assert different.mean() < 0.01


@given(st.integers(1, 60), st.integers(1, 60), st.floats(1.05, 2))
@settings(max_examples=40, deadline=None)
def test_enlarging_is_opencvs(height, width, scale):
    assert differences(picture(height, width), round(height * scale), round(width * scale), shrink=False).max() <= 1


@pytest.mark.parametrize("size", [((512, 512), (640, 640)), ((300, 400), (480, 640)), ((200, 300), (427, 640))])
def test_enlarged_looks_at_real_sizes(size):
    (height, width), target = size
    assert differences(picture(height, width), *target, shrink=False).mean() < 0.01


def test_the_same_size_is_the_same():
    assert (by_products(picture(30, 20), 30, 20, shrink=True) == picture(30, 20)).all()


def test_weights_sum_to_one():
    for source, target in ((866, 346), (100, 7), (5, 5), (1, 1)):
        assert torch.allclose(area_weights(source, target, CPU).sum(1), torch.ones(target))


@given(st.integers(2, 300), st.integers(2, 300), st.floats(0.05, 2))
@settings(max_examples=60, deadline=None)
def test_levels_are_the_references(height, width, scale):
    side = max(1, round(max(height, width) * scale))
    pixels, (level,) = picture(height, width), plan_levels(height, width, [side])
    ((wanted, _),) = pyramid_levels(pixels, [side])
    got = resized(torch.from_numpy(pixels).permute(2, 0, 1)[None].float(), level)[0].permute(1, 2, 0).numpy()
    different = np.abs(got - wanted)
    assert different.max() <= 1
    assert different.mean() < 0.02 + 4 / different.size
