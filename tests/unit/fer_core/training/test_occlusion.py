import pytest
import torch

from fer_core.training import occlusion
from fer_core.training.occlusion import KINDS, occluded
from tests.support.made_faces import faces


def batch(count: int = 64) -> torch.Tensor:
    return torch.from_numpy(faces(8)).unsqueeze(1).float().repeat(count // 8, 1, 1, 1)


def drawn(seed: int, share: float, count: int = 64) -> torch.Tensor:
    return occluded(batch(count), share, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_that_share_of_the_faces_is_covered(share: float) -> None:
    changed = (drawn(1, share, 256) - batch(256)).abs().amax((1, 2, 3)) > 0
    assert float(changed.float().mean()) == pytest.approx(share, abs=0.1)


def test_a_face_keeps_what_can_be_seen() -> None:
    covered = ((drawn(2, 1.0) - batch()).abs() > 1).float().mean((1, 2, 3))
    assert covered.max() < 0.6
    assert (covered > 0.02).float().mean() > 0.9


def test_range_and_input() -> None:
    plain = batch()
    copy = plain.clone()
    out = occluded(plain, 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(plain, copy)
    assert out.min() >= 0
    assert out.max() <= 255
    assert out.shape == plain.shape


def test_the_generator_decides() -> None:
    assert torch.equal(drawn(3, 0.5), drawn(3, 0.5))
    assert not torch.equal(drawn(3, 0.5), drawn(4, 0.5))


def region(kind: int, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """(112, 112) how often a pixel is covered by things of one kind, of 200."""
    monkeypatch.setattr(torch, "randint", lambda high, size, generator: torch.full(size, kind))
    grey = torch.full((200, 1, 112, 112), 128.0)
    return ((occluded(grey, 1.0, torch.Generator().manual_seed(0)) - grey).abs() > 0).float().mean((0, 1))


def test_each_kind_hides_what_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, glasses, bar, hand = (region(kind, monkeypatch) for kind in range(KINDS))
    eyes, mouth, forehead = (slice(48, 55), slice(34, 42)), (slice(88, 96), slice(48, 64)), (slice(0, 20), slice(40, 72))
    assert mask[mouth].min() > 0.9
    assert mask[eyes].max() < 0.1
    for eye_wear in (glasses, bar):
        assert eye_wear[eyes].min() > 0.5
        assert eye_wear[mouth].max() == 0
    assert 0.02 < hand[30:105, 15:97].mean() < 0.6
    assert all(kind[forehead].mean() < 0.1 for kind in (mask, glasses, bar, hand))


def test_glasses_are_dark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randint", lambda high, size, generator: torch.full(size, 1))
    grey = torch.full((50, 1, 112, 112), 200.0)
    out = occluded(grey, 1.0, torch.Generator().manual_seed(0))
    assert out[out != 200].mean() < 60
    assert occlusion.EYE_COLUMNS[0] < occlusion.MIDDLE < occlusion.EYE_COLUMNS[1]
