"""The network on ONNX Runtime gives the results of torch, for all sizes and independent of the other faces of the batch."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.models.network import BASE, TINY, WINDOW_SIZE, MultiscaleNet, NetworkConfig, ResidualBlock, luma
from fer_core.predict.activation_ranges import activation_ranges
from fer_core.predict.onnx_backend import BATCH, NetworkSession, cells_of, network_window
from tests.support.made_faces import SMALL, faces

KINDS = {
    "tiny": TINY,
    "base": BASE,
    "at full size": replace(SMALL, scale=1),
    "at a third": replace(SMALL, scale=3),
    "without attention": replace(SMALL, attention=False),
    "two taps": replace(TINY, taps=(1, 3)),
    "linear": replace(SMALL, classifier="linear"),
    "seven classes": replace(SMALL, classes=SMALL.classes[:7]),
    "a coarse grid": replace(SMALL, grid=4),
    "a class bias": replace(SMALL, affine=False, class_bias=True),
    "linear with a class bias": replace(SMALL, classifier="linear", affine=False, class_bias=True),
}


def network_of(config: NetworkConfig, seed: int = 0) -> MultiscaleNet:
    """Random weights, and norms that do something."""
    torch.manual_seed(seed)
    network = MultiscaleNet(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            if module.affine:
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, std=0.2)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
    if network.class_bias is not None:
        torch.nn.init.normal_(network.class_bias)
    return network.eval()


def session_of(network: MultiscaleNet, mirrored: bool) -> NetworkSession:
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return NetworkSession(network.config, tensors, mirrored=mirrored)


def by_torch(network: MultiscaleNet, crops: np.ndarray, mirrored: bool) -> np.ndarray:
    given_ = torch.from_numpy(crops).float()
    given_ = given_.unsqueeze(1) if crops.ndim == 3 else given_.permute(0, 3, 1, 2)
    with torch.inference_mode():
        said = network.logits(network(given_))
        if mirrored:
            said = (said + network.logits(network(given_.flip(-1)))) / 2
    return np.asarray(said.double())


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_torch_says(kind: str, mirrored: bool) -> None:
    network = network_of(KINDS[kind])
    crops = faces(BATCH + 3, seed=2, colour=True)
    expected = by_torch(network, crops, mirrored)
    assert expected.std() > 1e-2  # else it would prove little
    assert np.abs(session_of(network, mirrored).logits(crops) - expected).max() < 1e-3 * max(1, np.abs(expected).max())


def test_flat_faces_say_something_finite() -> None:
    network = network_of(SMALL)
    flat = np.repeat(np.array([0, 128, 255], np.uint8), 112 * 112 * 3).reshape(3, 112, 112, 3)
    said = session_of(network, True).logits(flat)
    assert np.isfinite(said).all()
    assert np.abs(said - by_torch(network, flat, True)).max() < 1e-3


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 2 * BATCH + 5), st.randoms(use_true_random=False), st.booleans())
def test_no_answer_depends_on_the_others(count: int, chance: object, mirrored: bool) -> None:
    crops, whole = forty(mirrored)
    chosen = np.random.default_rng(chance.getrandbits(32)).permutation(40)[:count]  # type: ignore[attr-defined]  # hypothesis' random
    assert np.array_equal(SESSIONS[mirrored].logits(crops[chosen]), whole[chosen])


SESSIONS = {mirrored: session_of(network_of(TINY), mirrored) for mirrored in (True, False)}


@cache
def forty(mirrored: bool) -> tuple[np.ndarray, np.ndarray]:
    """Faces, and what is said of them all."""
    crops = faces(40, seed=4, colour=True)
    return crops, SESSIONS[mirrored].logits(crops)


@pytest.mark.parametrize("threads", ["2", "3"])
def test_nor_on_how_many_threads_there_are(threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    crops = faces(20, seed=5, colour=True)
    monkeypatch.setenv("FERFLOW_THREADS", threads)
    assert np.array_equal(session_of(network_of(TINY), True).logits(crops), SESSIONS[True].logits(crops))


def test_the_window_is_the_networks_luma() -> None:
    crops = faces(5, seed=1, colour=True)
    whole = luma(torch.from_numpy(crops).permute(0, 3, 1, 2).float()).numpy()
    assert network_window(crops).shape == (5, 1, WINDOW_SIZE, WINDOW_SIZE)
    assert np.allclose(network_window(crops), whole[:, :, 16:112, 8:104], atol=1e-4)
    assert np.array_equal(network_window(crops[..., 0]), network_window(np.repeat(crops[..., :1], 1, -1)[..., 0]))


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 30), st.integers(1, 8))
def test_cells_average_as_torch_does(side: int, grid: int) -> None:
    picture = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(side))
    expected = torch.nn.functional.adaptive_avg_pool2d(picture, grid).flatten()
    assert np.allclose(cells_of(side, grid) @ picture.flatten().numpy(), expected, atol=1e-5)


@cache
def eight_bits(kind: str, mirrored: bool) -> tuple[MultiscaleNet, NetworkSession]:
    network = network_of(KINDS[kind])
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    ranges = activation_ranges(network, [faces(60, seed=6), faces(60, seed=7) // 3])
    return network, NetworkSession(network.config, tensors, ranges, mirrored=mirrored)


@pytest.mark.parametrize("kind", KINDS)
def test_eight_bits_say_nearly_the_same(kind: str) -> None:
    network, session = eight_bits(kind, True)
    crops = faces(60, seed=2)
    expected, said = by_torch(network, crops, True), session.logits(crops)
    rounding = np.abs(said - expected).mean() / expected.std()
    assert 1e-5 < rounding < 0.1  # another arithmetic, the same answers
    assert (said.argmax(1) == expected.argmax(1)).mean() > 0.9


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 2 * BATCH + 5), st.randoms(use_true_random=False), st.booleans())
def test_no_answer_in_eight_bits_depends_on_the_others(count: int, chance: object, mirrored: bool) -> None:
    _, session = eight_bits("tiny", mirrored)
    crops = faces(40, seed=4, colour=True)
    chosen = np.random.default_rng(chance.getrandbits(32)).permutation(40)[:count]  # type: ignore[attr-defined]  # hypothesis' random
    assert np.array_equal(session.logits(crops[chosen]), session.logits(crops)[chosen])


def test_flat_faces_in_eight_bits() -> None:
    _, session = eight_bits("tiny", True)
    flat = np.repeat(np.array([0, 128, 255], np.uint8), 112 * 112 * 3).reshape(3, 112, 112, 3)
    assert np.isfinite(session.logits(flat)).all()


@pytest.mark.parametrize("kind", ["tiny", "two taps", "linear"])
def test_ranges_are_those_of_the_values(kind: str) -> None:
    network = network_of(KINDS[kind])
    seen: dict[str, tuple[float, float]] = {}

    def watch(name: str, values: torch.Tensor) -> None:
        low, high = seen.get(name, (0.0, 0.0))
        seen[name] = min(low, float(values.min())), max(high, float(values.max()))

    network.stem.register_forward_hook(lambda m, i, values: watch("stem", values))
    for name, block in network.named_modules():
        if isinstance(block, ResidualBlock):
            block.register_forward_hook(lambda m, i, values, name=name: watch(name, values))
            block.norm1.register_forward_hook(lambda m, i, values, name=name: watch(f"{name}.conv1", values.relu()))
            block.norm2.register_forward_hook(lambda m, i, values, name=name: watch(f"{name}.conv2", values))
            if len(block.shortcut):
                block.shortcut.register_forward_hook(lambda m, i, values, name=name: watch(f"{name}.shortcut", values))
    crops = faces(20, seed=8)
    by_torch(network, crops, True)
    found = activation_ranges(network, [crops[:7], crops[7:]])
    assert tuple(found) == network.config.activations()
    assert found.keys() == seen.keys()
    assert all(np.allclose(found[name], seen[name], rtol=1e-3, atol=1e-3) for name in found)
    assert not network.stem[0].bias  # folded in a copy


def test_a_layer_that_gives_only_zeros_has_a_range() -> None:
    network = network_of(SMALL)
    torch.nn.init.zeros_(network.stages[0][0].conv2.weight)  # type: ignore[index, union-attr]  # torch's annotations
    for part in (network.stages[0][0].norm2.weight, network.stages[0][0].norm2.bias):  # type: ignore[index, union-attr]
        torch.nn.init.zeros_(part)
    ranges = activation_ranges(network, [faces(5, seed=1)])
    assert ranges["stages.0.0.conv2"] == (0.0, 1.0)
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    assert np.isfinite(NetworkSession(SMALL, tensors, ranges, mirrored=True).logits(faces(3, seed=1))).all()


def test_tensors_of_another_network_are_refused() -> None:
    tensors = {name: tensor.numpy() for name, tensor in network_of(SMALL).state_dict().items()}
    with pytest.raises(KeyError):
        NetworkSession(TINY, tensors, mirrored=True)


def test_no_face() -> None:
    assert SESSIONS[True].logits(np.zeros((0, 112, 112, 3), np.uint8)).shape == (0, 8)
