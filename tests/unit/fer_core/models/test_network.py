import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fer_core.labels import EXPRESSIONS
from fer_core.models.network import BASE, TINY, MultiscaleNet, NetworkConfig, luma, multiply_adds, standardised
from fer_core.models.store import WEIGHTS, load_model, resolve_model, rounded, save_model
from tests.support.made_faces import SMALL, faces, small_spec


def net(config: NetworkConfig = SMALL) -> MultiscaleNet:
    torch.manual_seed(0)
    return MultiscaleNet(config).eval()


def luma_faces(count: int) -> torch.Tensor:
    return torch.from_numpy(faces(count)).unsqueeze(1).float()


def test_tiny_is_cheap_and_small() -> None:
    assert 10e6 < multiply_adds(TINY) <= 60e6
    assert sum(4 * p.numel() for p in MultiscaleNet(TINY).parameters()) < 20 * 2**20


def test_base_is_what_a_gpu_may_cost() -> None:
    assert 0.3e9 < multiply_adds(BASE) <= 0.6e9


def test_base_is_stored_in_half_precision_and_loaded_from_its_card_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = MultiscaleNet(BASE)
    ref = save_model(tmp_path, network.state_dict(), small_spec(BASE), {"name": "base"}, half=True)
    assert (ref.path / WEIGHTS).stat().st_size < 24e6
    loaded, spec = load_model(resolve_model(str(tmp_path)))
    assert spec.network == loaded.config == BASE
    assert torch.equal(loaded.centers, rounded(network).centers)


def test_multiply_adds_of_a_case_counted_by_hand() -> None:
    config = NetworkConfig(4, 2, (4,), (1,), (0,), False, 1, 4, 1, 3, 0.0, 16.0)
    stem = 24 * 24 * 2 * 9
    stage = 12 * 12 * (4 * 2 * 9 + 4 * 4 * 9 + 4 * 2)
    assert multiply_adds(config) == stem + stage + 4 * 3 + 3 * 8


@pytest.mark.parametrize(
    "config",
    [
        TINY,
        SMALL,
        replace(SMALL, attention=False),
        replace(SMALL, taps=(1,)),
        replace(SMALL, taps=(0,)),
        replace(SMALL, taps=(1, 0)),
        replace(SMALL, taps=(1,), attention=False),
        replace(SMALL, scale=1),
        replace(SMALL, classes=EXPRESSIONS[:7]),
        replace(SMALL, classifier="linear"),
        replace(SMALL, widths=(8, 8, 8), blocks=(1, 2, 1), taps=(0, 2)),
    ],
)
def test_shapes_and_gradients(config: NetworkConfig) -> None:
    network = net(config).train()
    embeddings = network(luma_faces(2))
    assert embeddings.shape == (2, config.embedding)
    logits = network.logits(embeddings)
    assert logits.shape == (2, len(config.classes))
    if config.classifier == "cosine":
        assert logits.abs().max() <= config.logit_scale * (1 + 1e-5)
    else:
        torch.testing.assert_close(network.logits(3 * embeddings), 3 * logits)
    logits.square().sum().backward()
    reached = {name for name, p in network.named_parameters() if p.grad is not None}
    idle = {name for name, _ in network.named_parameters()} - reached
    unused = {name for name in idle if name.startswith("stages.")} if max(config.taps) < len(config.widths) - 1 else set()
    assert idle == unused  # only stages behind the last tap are idle


def test_config_survives_json() -> None:
    for config in (TINY, replace(SMALL, attention=False, classes=EXPRESSIONS[:7])):
        assert NetworkConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("value", [{}, {**TINY.to_json(), "strange": 1}, {**TINY.to_json(), "taps": 3}, []])
def test_wrong_config_json(value: object) -> None:
    with pytest.raises((TypeError, KeyError)):
        NetworkConfig.from_json(value)  # type: ignore[arg-type]


def test_a_grey_face_in_colour_is_the_same_face() -> None:
    grey = luma_faces(4)
    network = net()
    with torch.inference_mode():
        torch.testing.assert_close(network(grey.expand(-1, 3, -1, -1)), network(grey), atol=1e-4, rtol=1e-4)


def test_luma_weighs_green_most() -> None:
    red, green, blue = (luma(255 * torch.eye(3)[i].view(1, 3, 1, 1).expand(1, 3, 2, 2)).mean() for i in range(3))
    assert green > red > blue
    assert float(red + green + blue) == pytest.approx(255, abs=1e-3)


def test_brightness_and_contrast_hardly_matter() -> None:
    grey = luma_faces(8)
    network = net()
    with torch.inference_mode():
        plain, changed = network.logits(network(grey)), network.logits(network(0.7 * grey + 30))
        other = network.logits(network(grey.roll(1, 0)))
    assert (plain - changed).abs().max() < 0.1 * (plain - other).abs().max()


def test_standardised_window() -> None:
    grey = luma_faces(3)
    x = standardised(grey, 2)
    assert x.shape == (3, 1, 48, 48)
    assert x.mean((1, 2, 3)).abs().max() < 1e-5
    assert ((x.std((1, 2, 3)) - 1).abs() < 0.15).all()
    moved = grey.clone()
    moved[:, :, :16], moved[:, :, :, :8], moved[:, :, :, 104:] = 0, 0, 0
    torch.testing.assert_close(standardised(moved, 2), x)  # what lies outside the window is not seen


def test_a_flat_face_is_zero_not_nan() -> None:
    flat = torch.full((1, 1, 112, 112), 77.0)
    assert not standardised(flat, 2).abs().max() > 0
    network = net()
    assert network.logits(network(flat)).isfinite().all()


def test_centers_start_at_right_angles() -> None:
    centers = net(TINY).centers.detach()
    torch.testing.assert_close(centers @ centers.T, torch.eye(8), atol=1e-5, rtol=0)
