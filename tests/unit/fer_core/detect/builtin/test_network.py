"""The built-in detector's network: its sizes as JSON, its places, folding, and its file with everything that can be wrong with one."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fer_core.detect.builtin.network import (
    LARGEST,
    STRIDES,
    DetectionConfig,
    DetectionNet,
    fold_batch_norm,
    interpolate_weights,
    unfold_batch_norm,
)
from fer_core.detect.builtin.weights import SHIPPED, load_detector, save_detector
from fer_core.errors import DetectorError
from tests.support import made_faces  # noqa: F401  (one thread)

TINY = DetectionConfig((4, 6), (8, 8, 10), (1, 1, 2), 6)


def trained(passes=3):
    """A network whose weights and batch statistics are no longer those of the start."""
    torch.manual_seed(1)
    network = DetectionNet(TINY, norm=True)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    network.train()
    for _ in range(passes):
        network(255 * torch.rand(2, 3, 64, 96))
    return network


def same(seen, other, tolerance):
    return all(torch.allclose(getattr(seen, part), getattr(other, part), **tolerance) for part in ("logits", "boxes", "points"))


def test_sizes_survive_json():
    value = json.loads(json.dumps(TINY.to_json()))
    assert DetectionConfig.from_json(value) == TINY
    assert DetectionConfig.from_json(json.loads(json.dumps(DetectionConfig().to_json()))) == DetectionConfig()


@pytest.mark.parametrize(
    ("entry", "value", "error"),
    [
        ("neck", 0, ValueError),
        ("neck", 8.0, TypeError),
        ("neck", True, TypeError),
        ("neck", "8", TypeError),
        ("stem", [16, 0], ValueError),
        ("stem", [16, "32"], TypeError),
        ("widths", 48, TypeError),
        ("blocks", [1, -2, 2], ValueError),
        ("blocks", None, TypeError),
    ],
)
def test_wrong_sizes_are_refused(entry, value, error):
    with pytest.raises(error):
        DetectionConfig.from_json({**TINY.to_json(), entry: value})


@pytest.mark.parametrize("entry", ["stem", "widths", "blocks", "neck"])
def test_a_missing_size_is_refused(entry):
    value = TINY.to_json()
    del value[entry]
    with pytest.raises(KeyError):
        DetectionConfig.from_json(value)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (64, 128), (128, 64), (96, 160)])
def test_places_come_finest_first_row_by_row(height, width):
    seen = DetectionNet(TINY).eval()(torch.zeros(2, 3, height, width))
    assert seen.grids == tuple((height // stride, width // stride) for stride in STRIDES)
    expected = [
        ((column + 0.5) * stride, (row + 0.5) * stride)
        for stride in STRIDES
        for row in range(height // stride)
        for column in range(width // stride)
    ]
    assert np.allclose(seen.centres, expected)
    count = len(expected)
    assert seen.logits.shape == (2, count)
    assert seen.boxes.shape == (2, count, 4)
    assert seen.points.shape == (2, count, 5, 2)


def test_numbers_count_in_strides_from_the_place():
    """An output layer that says the same everywhere: the box's centre, its size and the points follow the stride of each level."""
    network = DetectionNet(TINY).eval()
    for output in network.outputs:
        torch.nn.init.zeros_(output.weight)
        output.bias.data = torch.tensor([0.25, 0.5, -1.0, np.log(3.0), np.log(2.0), *range(-5, 5)], dtype=torch.float32)
    seen = network(torch.zeros(1, 3, 64, 64))
    stride = torch.cat([torch.full(((64 // step) ** 2, 1), float(step)) for step in STRIDES])
    middle = seen.centres + torch.tensor([0.5, -1.0]) * stride
    assert torch.allclose(
        seen.boxes[0], torch.cat([middle - stride * torch.tensor([1.5, 1.0]), middle + stride * torch.tensor([1.5, 1.0])], 1)
    )
    offsets = torch.arange(-5.0, 5.0).view(1, 5, 2)
    assert torch.allclose(seen.points[0], seen.centres[:, None] + offsets * stride[:, None])
    assert torch.allclose(seen.logits, torch.tensor(0.25))


def test_no_number_makes_a_box_infinite():
    network = DetectionNet(TINY).eval()
    for output in network.outputs:
        output.bias.data.fill_(1e4)
    seen = network(torch.zeros(1, 3, 64, 64))
    sides = seen.boxes[..., 2:] - seen.boxes[..., :2]
    assert torch.isfinite(seen.boxes).all()
    assert sides.max() <= np.exp(LARGEST) * STRIDES[-1] * 1.001


def test_a_new_network_sees_almost_nothing():
    """The start of training: a hundredth at every place."""
    scores = DetectionNet(TINY, norm=True)(255 * torch.rand(1, 3, 64, 64)).logits.sigmoid()
    assert ((scores > 0.003) & (scores < 0.03)).all()


def test_folding_changes_no_answer():
    network = trained()
    network.eval()
    plain = fold_batch_norm(network)
    pictures = 255 * torch.rand(2, 3, 64, 96)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in plain.modules())
    assert not plain.training
    assert same(network(pictures), plain(pictures), {"rtol": 1e-3, "atol": 1e-3})
    assert not same(trained(0).eval()(pictures), plain(pictures), {"rtol": 1e-3, "atol": 1e-3})  # the statistics matter


def test_folding_what_is_folded_changes_nothing():
    plain = fold_batch_norm(trained())
    pictures = 255 * torch.rand(1, 3, 64, 64)
    assert same(fold_batch_norm(plain)(pictures), plain(pictures), {"rtol": 0, "atol": 0})


def test_what_is_shipped_can_learn_on():
    """Unfolded, in evaluation mode, it answers as before, whatever the pictures; in training mode too, on those that it was settled on."""
    plain, pictures = fold_batch_norm(trained()), 255 * torch.rand(4, 3, 64, 96)
    learning = unfold_batch_norm(plain, pictures)
    assert not learning.training
    assert set(learning.state_dict()) == set(trained().state_dict())
    others = 255 * torch.rand(2, 3, 64, 64)
    for batch in (pictures, others):
        assert same(learning(batch), plain(batch), {"rtol": 1e-3, "atol": 1e-3})
    assert same(fold_batch_norm(learning)(others), plain(others), {"rtol": 1e-3, "atol": 1e-3})
    assert same(learning.train()(pictures), plain(pictures), {"rtol": 1e-3, "atol": 1e-3})
    learning(others).logits.sum().backward()
    assert all(parameter.grad is not None for name, parameter in learning.named_parameters() if "conv" in name)


def test_networks_are_averaged_weight_by_weight():
    one, other = fold_batch_norm(trained()), fold_batch_norm(trained(passes=0))
    half, pictures = interpolate_weights(one, other, 0.25), 255 * torch.rand(1, 3, 64, 64)
    for name, tensor in half.state_dict().items():
        assert torch.allclose(tensor, 0.75 * one.state_dict()[name] + 0.25 * other.state_dict()[name], atol=1e-6)
    assert not half.training
    assert same(interpolate_weights(one, other, 0.0)(pictures), one(pictures), {"rtol": 0, "atol": 0})
    with pytest.raises(ValueError, match="same sizes"):
        interpolate_weights(one, DetectionNet(DetectionConfig()), 0.5)


def test_a_batch_is_its_pictures():
    plain, pictures = fold_batch_norm(trained()), 255 * torch.rand(3, 3, 96, 64)
    together = plain(pictures)
    for index in range(3):
        alone = plain(pictures[index : index + 1])
        for part in ("logits", "boxes", "points"):
            assert torch.allclose(getattr(together, part)[index], getattr(alone, part)[0], rtol=1e-4, atol=1e-3)


def test_the_file_holds_the_folded_network_in_half_precision(tmp_path):
    network = trained()
    save_detector(network, tmp_path / "new" / "folder" / "net.safetensors")
    loaded = load_detector(tmp_path / "new" / "folder" / "net.safetensors")
    assert loaded.config == TINY
    assert not loaded.training
    ours, theirs = fold_batch_norm(network).state_dict(), loaded.state_dict()
    assert set(ours) == set(theirs)
    for name, tensor in ours.items():
        assert theirs[name].dtype == torch.float32
        assert torch.equal(theirs[name], tensor.half().float())
    pictures = 255 * torch.rand(1, 3, 64, 64)
    assert same(loaded(pictures), network.eval()(pictures), {"rtol": 0.02, "atol": 0.2})


def test_saving_does_not_disturb_training(tmp_path):
    network = trained()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    save_detector(network, tmp_path / "net.safetensors")
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_the_shipped_file_is_small_and_loads():
    assert SHIPPED.stat().st_size < 3_000_000
    assert not load_detector(SHIPPED).training


def damaged(case, good):
    """Write a file that is wrong in one way over a copy of a good one."""
    data, tensors = good.read_bytes(), load_file(good)
    config = {"config": json.dumps(TINY.to_json())}
    first = next(iter(tensors))
    if case == "empty":
        good.write_bytes(b"")
    elif case == "text":
        good.write_text("not a detector")
    elif case == "cut off":
        good.write_bytes(data[: len(data) // 2])
    elif case == "a header too long":
        good.write_bytes((2**62).to_bytes(8, "little") + data[8:])
    elif case == "no metadata":
        save_file(tensors, good)
    elif case == "other metadata":
        save_file(tensors, good, metadata={"model": "another"})
    elif case == "no JSON":
        save_file(tensors, good, metadata={"config": "{"})
    elif case == "JSON of another kind":
        save_file(tensors, good, metadata={"config": "[1, 2]"})
    elif case == "a size missing":
        save_file(tensors, good, metadata={"config": json.dumps({"stem": [4, 6]})})
    elif case == "a size below 1":
        save_file(tensors, good, metadata={"config": json.dumps({**TINY.to_json(), "neck": 0})})
    elif case == "three stem layers":
        save_file(tensors, good, metadata={"config": json.dumps({**TINY.to_json(), "stem": [4, 6, 8]})})
    elif case == "two stages":
        save_file(tensors, good, metadata={"config": json.dumps({**TINY.to_json(), "widths": [8, 8]})})
    elif case == "other sizes":
        save_file(tensors, good, metadata={"config": json.dumps(DetectionConfig().to_json())})
    elif case == "a tensor missing":
        save_file({name: tensor for name, tensor in tensors.items() if name != first}, good, metadata=config)
    elif case == "a tensor too many":
        save_file({**tensors, "more": torch.zeros(1)}, good, metadata=config)
    elif case == "a tensor of another shape":
        save_file({**tensors, first: torch.zeros(1, 2)}, good, metadata=config)


@pytest.mark.parametrize(
    "case",
    [
        "empty",
        "text",
        "cut off",
        "a header too long",
        "no metadata",
        "other metadata",
        "no JSON",
        "JSON of another kind",
        "a size missing",
        "a size below 1",
        "three stem layers",
        "two stages",
        "other sizes",
        "a tensor missing",
        "a tensor too many",
        "a tensor of another shape",
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, case):
    file = tmp_path / "net.safetensors"
    save_detector(trained(0), file)
    load_detector(file)
    damaged(case, file)
    with pytest.raises(DetectorError, match="not a file of the built-in detector") as caught:
        load_detector(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["missing.safetensors", "."])
def test_a_missing_file_is_one_sentence(tmp_path, name):
    with pytest.raises(DetectorError, match="detector file not found") as caught:
        load_detector(tmp_path / name)
    assert "\n" not in str(caught.value)
