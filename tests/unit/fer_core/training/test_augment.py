from dataclasses import replace

import pytest
import torch

from fer_core.training.augment import AugmentConfig, augment
from tests.support.made_faces import faces

NOTHING = AugmentConfig(rotate_deg=0, zoom=0, stretch=0, shift=0, contrast=0, brightness=0, blur=0, noise=0, occlude=0, erase=0)


def batch(count: int = 16) -> torch.Tensor:
    return torch.from_numpy(faces(count)).unsqueeze(1).float()


def once(config: AugmentConfig, seed: int = 0, count: int = 16) -> torch.Tensor:
    return augment(batch(count), config, torch.Generator().manual_seed(seed))


def test_same_generator_state_same_faces() -> None:
    assert torch.equal(once(AugmentConfig()), once(AugmentConfig()))
    assert not torch.equal(once(AugmentConfig()), once(AugmentConfig(), seed=1))


def test_shape_and_range() -> None:
    out = once(AugmentConfig(contrast=0.9, brightness=0.9))
    assert out.shape == (16, 1, 112, 112)
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 255


def test_global_random_state_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = once(AugmentConfig())
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(first, once(AugmentConfig()))


def test_nothing_asked_leaves_the_face_or_its_mirror_image() -> None:
    plain, out = batch(), once(NOTHING)
    kept = [(o - p).abs().max() < 0.01 for o, p in zip(out, plain, strict=True)]
    flipped = [(o - p.flip(-1)).abs().max() < 0.01 for o, p in zip(out, plain, strict=True)]
    assert all(k or f for k, f in zip(kept, flipped, strict=True))
    assert any(kept)
    assert any(flipped)


@pytest.mark.parametrize("name", ["rotate_deg", "zoom", "stretch", "shift", "contrast", "brightness", "blur", "noise", "occlude", "erase"])
def test_each_part_changes_faces(name: str) -> None:
    config = replace(NOTHING, **{name: 10.0 if name == "rotate_deg" else 0.5 if name in ("blur", "noise", "occlude", "erase") else 0.2})
    changed = (once(config, seed=3) - once(NOTHING, seed=3)).abs().amax((1, 2, 3))
    assert (changed > 2).sum() >= 4


def test_faces_are_changed_each_for_itself() -> None:
    same = batch(1).expand(8, -1, -1, -1)
    out = augment(same, replace(AugmentConfig(), blur=0, noise=0, occlude=0, erase=0), torch.Generator().manual_seed(0))
    assert all(not torch.equal(out[0], out[i]) for i in range(1, 8))


def test_erased_area_is_bounded() -> None:
    config = replace(NOTHING, erase=1.0, erase_area=0.2)
    covered = (once(config, seed=5, count=64) - once(NOTHING, seed=5, count=64)).abs() > 0.5
    share = covered.float().mean((1, 2, 3))
    assert share.max() <= 0.21
    assert share.max() > 0.05


def test_input_is_left_alone() -> None:
    plain = batch()
    copy = plain.clone()
    augment(plain, AugmentConfig(), torch.Generator().manual_seed(0))
    assert torch.equal(plain, copy)
