"""The detector's network as ONNX Runtime runs it sees what torch sees; and places are read as the network's own text reads them."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from safetensors.numpy import load, save_file
from skimage import data

from benchmarks.detector.training.ranges import recorded
from fer_core.detect.base import box_iou, nms
from fer_core.detect.builtin.decode_outputs import rows_from
from fer_core.detect.builtin.graph_layers import GREY, activations, write_layers
from fer_core.detect.builtin.network import STRIDES, DetectionConfig, DetectionNet
from fer_core.detect.builtin.onnx import INPUT, OnnxDetectorRuntime, build_onnx
from fer_core.detect.builtin.quantized_onnx import COLUMNS, QuantizedLayers, build_quantized
from fer_core.detect.builtin.runtime import DetectorRuntime, load_runtime
from fer_core.detect.builtin.torch_runtime import TorchDetectorRuntime
from fer_core.detect.builtin.weights import SHIPPED, load_detector, read_detector, read_ranges, save_detector, save_ranges
from fer_core.errors import DetectorError
from fer_core.models.quantization import WEIGHT_LIMIT
from fer_core.models.tensor_file import read_tensor_file

SMALL_CONFIG = DetectionConfig(stem=(4, 8), widths=(8, 12, 16), blocks=(2, 1, 3), neck=8)
SHIPPED_EYES = OnnxDetectorRuntime(build_onnx(*read_detector(SHIPPED)))
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
    for ours, theirs in zip(
        OnnxDetectorRuntime(build_onnx(network.config, tensors))(some), TorchDetectorRuntime(network, "cpu")(some), strict=True
    ):
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


class PlainStem(QuantizedLayers):
    """Its first two convolutions read one pixel at a place."""

    def stem(self, first: str, second: str) -> str:
        x = self.graph.bytes_scaled(self.graph.permute("x", [0, 3, 1, 2]), 1 / GREY, GREY)
        seen = self._convolution(x, first, self._of(first), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0] * 4})
        return self.convolution(seen, second, 2)


class TestQuantized:
    """The 8-bit form that searches the pyramid."""

    runtime = load_runtime(SHIPPED, "cpu", quantized=True)

    def test_it_finds_what_single_precision_finds(self) -> None:
        astronaut = data.astronaut()
        several = np.concatenate([np.concatenate([astronaut, astronaut[:, ::-1]], 1), np.full((512, 1024, 3), 90, np.uint8)])
        several[600:728, 100:228] = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
        found = [_faces(runtime, several) for runtime in (SHIPPED_EYES, self.runtime)]
        assert len(found[0]) == len(found[1]) == 3
        for one, other in zip(*found, strict=True):
            assert box_iou(one[None, :4], other[None, :4])[0, 0] > 0.9
            assert abs(one[14] - other[14]) < 0.05

    @pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 160), (160, 96)])
    def test_blocks_of_pixels_give_the_numbers_of_plain_convolutions(self, height: int, width: int) -> None:
        config, tensors = read_detector(SHIPPED)
        plain = PlainStem(tensors, read_ranges(SHIPPED))
        runtime = OnnxDetectorRuntime(plain.graph.model(INPUT, write_layers(config, plain), np.uint8))
        random = np.random.default_rng(height)
        for some in (pictures(2, height, width), [random.integers(0, 256, (height, width, 3), np.uint8)]):
            for ours, theirs in zip(self.runtime(some), runtime(some), strict=True):
                assert np.array_equal(ours, theirs)

    def test_it_is_not_the_same_network(self) -> None:
        some = pictures(1, 96, 96)
        assert not np.allclose(self.runtime(some)[0], SHIPPED_EYES(some)[0], atol=1e-3)

    def test_a_picture_is_seen_alike_in_any_company(self) -> None:
        some = pictures(5, 128, 160)
        together = self.runtime(some)
        for index, each in enumerate(some):
            for level, alone in zip(together, self.runtime([each]), strict=True):
                assert np.array_equal(level[index], alone[0])

    def test_two_products_fit_sixteen_bits(self) -> None:
        """CPUs without VNNI add pairs of products in 16 bits and would saturate: other numbers on other machines."""
        assert 2 * 255 * WEIGHT_LIMIT < 2**15
        config, tensors = read_detector(SHIPPED)
        model = onnx.load_from_string(build_quantized(config, tensors, read_ranges(SHIPPED)).content)
        weights = [numpy_helper.to_array(each) for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8]
        large = [weight for weight in weights if weight.ndim == 4]
        assert len(large) == len(activations(config)) - sum(config.blocks) - 2  # sums have no weights
        assert all(np.abs(weight.astype(int)).max() == WEIGHT_LIMIT for weight in large)

    @pytest.mark.parametrize(("weight", "bias"), [(0.0, 10.0), (6e-8, 1.0), (6e-6, 10.0), (0.0, 0.0), (1e-30, -3.0)])
    def test_a_channel_of_small_weights_keeps_its_bias(self, weight: float, bias: float) -> None:
        config, tensors = read_detector(SHIPPED)
        for name in ("stem.0.conv", "outputs.0"):
            tensors[f"{name}.weight"][0], tensors[f"{name}.bias"][0] = weight, bias
        plain, quantized = (
            runtime(pictures(1, 64, 64))
            for runtime in (
                OnnxDetectorRuntime(build_onnx(config, tensors)),
                OnnxDetectorRuntime(build_quantized(config, tensors, read_ranges(SHIPPED)), COLUMNS),
            )
        )
        assert all(np.isfinite(level).all() for level in quantized)
        assert np.abs(plain[0] - quantized[0]).mean() < 0.25

    def test_ranges_that_no_detector_reads_are_not_saved(self, tmp_path: Path) -> None:
        file = tmp_path / "own.safetensors"
        save_detector(DetectionNet(SMALL_CONFIG, norm=True).eval(), file)
        before = file.read_bytes()
        with pytest.raises(DetectorError, match="no range of"):
            save_ranges(file, dict.fromkeys(activations(SMALL_CONFIG), (0.0, 0.0)))
        assert file.read_bytes() == before

    def test_a_file_without_ranges_is_searched_in_single_precision(self, tmp_path: Path) -> None:
        network = DetectionNet(SMALL_CONFIG, norm=True).eval()
        save_detector(network, tmp_path / "own.safetensors")
        some = pictures(1, 64, 64)
        assert read_ranges(tmp_path / "own.safetensors") == {}
        plain, searched = (load_runtime(tmp_path / "own.safetensors", "cpu", quantized=each)(some) for each in (False, True))
        assert all(np.array_equal(one, other) for one, other in zip(plain, searched, strict=True))

    def test_ranges_are_kept_beside_the_same_weights(self, tmp_path: Path) -> None:
        file = tmp_path / "own.safetensors"
        save_detector(DetectionNet(SMALL_CONFIG, norm=True).eval(), file)
        config, before = read_detector(file)
        ranges = recorded(config, before, pictures(3, 64, 96))
        save_ranges(file, ranges)
        after = read_detector(file)[1]
        assert all(np.array_equal(before[name], after[name]) for name in before)
        found = read_ranges(file)
        assert found.keys() == ranges.keys() == set(activations(config))
        assert all(np.allclose(found[layer], ranges[layer], rtol=1e-6) for layer in ranges)
        assert all(low <= 0 < high for low, high in found.values())

    @pytest.mark.parametrize("pair", [[0], [0, 0], [1, 2], [0, float("nan")], [0, 1e39], "0 1", [0, True], [-1, 1e-9 - 1], None])
    def test_other_ranges_are_refused_in_one_line(self, tmp_path: Path, pair: object) -> None:
        file = tmp_path / "own.safetensors"
        save_detector(DetectionNet(SMALL_CONFIG, norm=True).eval(), file)
        ranges: dict[str, object] = {layer: [0.0, 1.0] for layer in activations(SMALL_CONFIG)}
        ranges["stem.1.conv"] = pair
        _with_ranges(file, ranges)
        with pytest.raises(DetectorError, match="not a file of the built-in detector"):
            load_runtime(file, "cpu", quantized=True)

    def test_ranges_of_other_layers_are_refused(self, tmp_path: Path) -> None:
        file = tmp_path / "own.safetensors"
        save_detector(DetectionNet(SMALL_CONFIG, norm=True).eval(), file)
        for layers in (activations(SMALL_CONFIG)[1:], (*activations(SMALL_CONFIG), "another")):
            _with_ranges(file, {layer: [0.0, 1.0] for layer in layers})
            with pytest.raises(DetectorError, match="ranges of other layers"):
                read_ranges(file)


def _with_ranges(file: Path, ranges: dict[str, object]) -> None:
    stored = read_tensor_file(file)
    save_file(load(stored.data), file, metadata={**stored.metadata, "ranges": json.dumps(ranges)})


def _faces(runtime: DetectorRuntime, pixels: np.ndarray) -> np.ndarray:
    rows, _ = rows_from(runtime([pixels]), 0.5)
    kept = nms(rows[:, :4], rows[:, 14], 0.4)
    return rows[kept][np.argsort(rows[kept, 0])]
