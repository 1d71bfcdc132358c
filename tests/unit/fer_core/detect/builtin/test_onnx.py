"""The detector's network as ONNX Runtime runs it sees what torch sees; and places are read as the network's own text reads them."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.detect.builtin.decode_outputs import rows_from
from fer_core.detect.builtin.network import STRIDES, DetectionConfig, DetectionNet
from fer_core.detect.builtin.onnx import OnnxDetectorRuntime
from fer_core.detect.builtin.runtime import load_runtime
from fer_core.detect.builtin.torch_runtime import TorchDetectorRuntime
from fer_core.detect.builtin.weights import SHIPPED, load_detector, read_detector

SHIPPED_EYES = OnnxDetectorRuntime(*read_detector(SHIPPED))
TORCH_EYES = TorchDetectorRuntime(load_detector(SHIPPED), "cpu")


def pictures(count: int, height: int, width: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth noise: flat places and edges, up to black and white at the border."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, height // 16, width // 16, 3), np.uint8)
    return [np.repeat(np.repeat(each, 16, 0), 16, 1) for each in coarse]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 8), st.integers(0, 99))
def test_it_sees_what_torch_sees(count: int, rows: int, columns: int, seed: int) -> None:
    some = pictures(count, 32 * rows, 32 * columns, seed)
    for ours, theirs, stride in zip(SHIPPED_EYES(some), TORCH_EYES(some), STRIDES, strict=True):
        assert ours.shape == theirs.shape == (count, 15, 32 * rows // stride, 32 * columns // stride)
        assert np.abs(ours - theirs).max() < 2e-3


def test_another_size_of_network() -> None:
    torch.manual_seed(0)
    network = DetectionNet(DetectionConfig(stem=(4, 8), widths=(8, 12, 16), blocks=(2, 1, 3), neck=8)).eval()
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    some = pictures(2, 96, 64)
    for ours, theirs in zip(OnnxDetectorRuntime(network.config, tensors)(some), TorchDetectorRuntime(network, "cpu")(some), strict=True):
        assert np.abs(ours - theirs).max() < 1e-4


def test_a_picture_is_seen_alike_in_any_company() -> None:
    some = pictures(5, 128, 160)
    together = SHIPPED_EYES(some)
    for index, each in enumerate(some):
        for level, alone in zip(together, SHIPPED_EYES([each]), strict=True):
            assert np.array_equal(level[index], alone[0])


@pytest.mark.parametrize("lowest", [0.0, 0.01, 0.2, 0.9, 1.0])
def test_places_are_read_as_the_network_reads_them(lowest: float) -> None:
    torch.manual_seed(1)
    network = DetectionNet(DetectionConfig()).eval()
    for output in network.outputs:
        torch.nn.init.normal_(output.weight, std=0.5)  # scores from 0 to 1, boxes up to the largest
    some = pictures(2, 96, 128)
    with torch.inference_mode():
        all_of = network(torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float())
    levels = [level.numpy() for level in _levels(network, some)]
    for index in range(2):
        scores = all_of.logits[index].sigmoid()
        kept = torch.nonzero(scores >= lowest).flatten()
        parts = (all_of.boxes[index, kept], all_of.points[index, kept].flatten(1), scores[kept].unsqueeze(1))
        expected = torch.cat(parts, 1).numpy()
        found, pictures_of = rows_from(levels, lowest)
        found = found[pictures_of == index]
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-3)


def _levels(network: DetectionNet, some: list[np.ndarray]) -> list[torch.Tensor]:
    with torch.inference_mode():
        return network.levels(torch.from_numpy(np.stack(some)).permute(0, 3, 1, 2).float())


def test_numbers_beyond_all_bounds_stay_finite() -> None:
    numbers = np.full((1, 15, 2, 2), 1e4, np.float32)
    rows, _ = rows_from([numbers, -numbers, numbers * 0], 0.5)
    assert np.isfinite(rows).all()
    assert (rows[:4, 14] == 1).all()


def test_a_cpu_without_the_runtime_looks_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_runtime(SHIPPED, "cpu"), OnnxDetectorRuntime)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(load_runtime(SHIPPED, "cpu"), TorchDetectorRuntime)
