from itertools import pairwise
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.evaluation.corruption import CORRUPTIONS, STRENGTHS, Corruption, corrupt
from fer_core.models.network import WINDOW_LEFT, WINDOW_SIZE, WINDOW_TOP
from tests.support.made_faces import faces

FACES = faces(6, seed=3)
IDS = [f"face {index}" for index in range(6)]
kinds = st.sampled_from(CORRUPTIONS)
strengths = st.integers(1, 5)


def window(crops: np.ndarray) -> np.ndarray:
    return crops[..., WINDOW_TOP : WINDOW_TOP + WINDOW_SIZE, WINDOW_LEFT : WINDOW_LEFT + WINDOW_SIZE]


def harm(spoilt: np.ndarray, crops: np.ndarray = FACES) -> float:
    return float(np.abs(spoilt.astype(float) - crops).mean())


def test_the_table_covers_every_kind() -> None:
    assert set(STRENGTHS) == set(CORRUPTIONS) == set(get_args(Corruption))


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("colour", [False, True])
def test_shapes_and_strengths(kind: Corruption, colour: bool) -> None:
    crops = faces(4, seed=3, colour=colour)
    before, harms = crops.copy(), []
    for strength in range(6):
        spoilt = corrupt(crops, kind, strength, seed=1)
        assert spoilt.shape == crops.shape
        assert spoilt.dtype == np.uint8
        harms.append(harm(spoilt, crops))
    assert harms[0] == 0
    assert harms == sorted(harms)
    assert all(low < high for low, high in pairwise(harms))
    assert np.array_equal(crops, before)


def test_strength_0_is_a_copy() -> None:
    same = corrupt(FACES, "noise", 0, seed=1)
    assert np.array_equal(same, FACES)
    assert not np.shares_memory(same, FACES)


@settings(deadline=None, max_examples=40)
@given(kinds, strengths, st.integers(0, 2**40), st.permutations(range(6)), st.integers(1, 6))
def test_a_face_is_spoilt_alike_in_any_company(kind: Corruption, strength: int, seed: int, order: list[int], count: int) -> None:
    whole = corrupt(FACES, kind, strength, seed, IDS)
    chosen = order[:count]
    assert np.array_equal(corrupt(FACES[chosen], kind, strength, seed, [IDS[i] for i in chosen]), whole[chosen])
    assert np.array_equal(corrupt(FACES[:count], kind, strength, seed), corrupt(FACES, kind, strength, seed)[:count])


@pytest.mark.parametrize("kind", ["occlusion", "rotation", "noise"])
def test_seed_and_id_decide(kind: Corruption) -> None:
    same = np.repeat(FACES[:1], 12, axis=0)
    by_id = corrupt(same, kind, 3, seed=0, ids=[str(index) for index in range(12)])
    assert len({face.tobytes() for face in by_id}) >= 2
    assert not np.array_equal(by_id, corrupt(same, kind, 3, seed=1, ids=[str(index) for index in range(12)]))


@settings(deadline=None, max_examples=20)
@given(kinds, strengths, st.integers(0, 99))
def test_a_coloured_copy_suffers_like_the_grey_face(kind: Corruption, strength: int, seed: int) -> None:
    coloured = np.repeat(FACES[..., None], 3, axis=-1)
    spoilt = corrupt(coloured, kind, strength, seed)
    assert np.array_equal(spoilt, np.repeat(corrupt(FACES, kind, strength, seed)[..., None], 3, axis=-1))


@settings(deadline=None, max_examples=40)
@given(strengths, st.integers(0, 999))
def test_the_block_covers_its_share_of_the_window_and_nothing_outside(strength: int, seed: int) -> None:
    """Where two copies that differ in every pixel come out equal, there is the block."""
    one, other = np.zeros((1, 112, 112), np.uint8), np.full((1, 112, 112), 255, np.uint8)
    covered = (corrupt(one, "occlusion", strength, seed) == corrupt(other, "occlusion", strength, seed))[0]
    share = STRENGTHS["occlusion"].amounts[strength - 1] / 100
    assert window(covered).mean() == pytest.approx(share, abs=0.006)
    assert covered.sum() == window(covered).sum()
    rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
    assert covered.sum() == len(rows) ** 2 == len(columns) ** 2  # one square
    assert np.ptp(rows) + 1 == len(rows)


def test_blocks_reach_every_corner_of_the_window() -> None:
    one, other = np.zeros((400, 112, 112), np.uint8), np.full((400, 112, 112), 255, np.uint8)
    covered = corrupt(one, "occlusion", 1, 0) == corrupt(other, "occlusion", 1, 0)
    assert window(covered).any(axis=0).mean() > 0.97


def test_rotation_turns_by_its_angle_both_ways() -> None:
    """A bar through the middle of the window, found again by its second moments."""
    bar = np.zeros((40, 112, 112), np.uint8)
    bar[:, 60:68, 20:92] = 255
    centre = np.array([WINDOW_LEFT + (WINDOW_SIZE - 1) / 2, WINDOW_TOP + (WINDOW_SIZE - 1) / 2])
    for strength, degrees in enumerate(STRENGTHS["rotation"].amounts, start=1):
        angles = []
        for face in corrupt(bar, "rotation", strength, seed=0).astype(float):
            y, x = np.mgrid[:112, :112]
            mean = np.array([(face * x).sum(), (face * y).sum()]) / face.sum()
            assert mean == pytest.approx(centre, abs=0.1)
            dx, dy = x - mean[0], y - mean[1]
            angles.append(np.degrees(0.5 * np.arctan2(2 * (face * dx * dy).sum(), (face * (dx * dx - dy * dy)).sum())))
        assert np.abs(angles) == pytest.approx(degrees, abs=0.5)
        assert 8 <= sum(angle > 0 for angle in angles) <= 32


def test_blur_spreads_a_dot_by_its_sigma() -> None:
    dot = np.zeros((1, 112, 112), np.uint8)
    dot[0, 50:62, 50:62] = 255
    for strength, sigma in enumerate(STRENGTHS["blur"].amounts, start=1):
        face = corrupt(dot, "blur", strength, seed=0)[0].astype(float)
        x = np.arange(112)
        mean = (face * x).sum() / face.sum()
        spread = (face * (x - mean) ** 2).sum() / face.sum()
        assert spread == pytest.approx(sigma**2 + (12**2 - 1) / 12, rel=0.1)  # variances add up


def test_low_resolution_leaves_its_pixels_and_no_finer_detail() -> None:
    stripes = np.zeros((1, 112, 112), np.uint8)
    stripes[..., ::2] = 255  # one pixel wide: nothing of them is left
    for strength in range(1, 6):
        face = corrupt(stripes, "low_resolution", strength, seed=0)[0]
        assert face.std() < 32
        assert face.mean() == pytest.approx(127.5, abs=1)
    flat = np.full((1, 112, 112), 77, np.uint8)
    assert np.array_equal(corrupt(flat, "low_resolution", 5, seed=0), flat)


def test_noise_has_its_sigma_and_swells_in_place() -> None:
    grey = np.full((5, 112, 112), 128, np.uint8)
    grains = [corrupt(grey, "noise", strength, seed=0).astype(float) - 128 for strength in (1, 2, 3)]
    for grain, sigma in zip(grains, STRENGTHS["noise"].amounts, strict=False):
        assert grain.std() == pytest.approx(sigma, rel=0.03)
        assert abs(grain.mean()) < 0.3
    assert np.corrcoef(grains[0].ravel(), grains[2].ravel())[0, 1] > 0.98
    assert abs(np.corrcoef(grains[2][0].ravel(), grains[2][1].ravel())[0, 1]) < 0.05


def test_no_faces() -> None:
    assert corrupt(np.zeros((0, 112, 112), np.uint8), "blur", 3, seed=0).shape == (0, 112, 112)


@pytest.mark.parametrize(("kind", "strength"), [("fog", 1), ("blur", 6), ("blur", -1)])
def test_unknown_kinds_and_strengths(kind: Corruption, strength: int) -> None:
    with pytest.raises(ValueError, match="no corruption"):
        corrupt(FACES, kind, strength, seed=0)


def test_ids_are_one_a_face() -> None:
    with pytest.raises(ValueError, match="6 faces, but 2 ids"):
        corrupt(FACES, "blur", 1, seed=0, ids=["a", "b"])
