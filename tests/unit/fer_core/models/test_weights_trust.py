"""Untrusted weights: values that no training gives, or sizes that are too large, are refused on every path that would label with them."""

import json
import sys
from dataclasses import asdict, replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save, save_file

from fer_core.detect.builtin.config import DetectionConfig
from fer_core.detect.builtin.detector import BuiltinDetector
from fer_core.detect.builtin.network import DetectionNet
from fer_core.detect.builtin.weights import SHIPPED, load_detector, read_detector, save_detector
from fer_core.errors import DetectorError, FerflowError, ModelError, TrainingError
from fer_core.evaluation.evaluate import evaluate
from fer_core.gpu.predictor import GpuPredictor
from fer_core.hashing import file_sha256
from fer_core.models.network import MultiscaleNet
from fer_core.models.network_config import BASE, TINY, NetworkConfig
from fer_core.models.store import CARD, WEIGHTS, ModelRef, ModelSpec, load_model, read_weights, resolve_model, save_model
from fer_core.predict.predictor import Predictor
from fer_core.predict.torch_backend import TorchNetwork
from fer_core.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from flows.cli.main import main
from tests.support.bounded_memory import run_bounded
from tests.support.made_faces import SMALL, faces, made_faceset, small_model

NORM = "stages.0.0.norm1.running_var"


@pytest.fixture
def ref(tmp_path: Path) -> ModelRef:
    return small_model(tmp_path / "models" / "small")


def changed(ref: ModelRef, name: str, value: torch.Tensor | None) -> ModelRef:
    """The model with one tensor in another's place, and a card that stands by it."""
    file = ref.path / WEIGHTS
    metadata = {"spec": json.dumps(ref.card["spec"])}
    tensors = {key: tensor for key, tensor in {**load_file(file), name: value}.items() if tensor is not None}
    save_file(tensors, file, metadata=metadata)
    (ref.path / CARD).write_text(json.dumps({**ref.card, "digest": file_sha256(file)}), "utf-8")
    return resolve_model(str(ref.path))


def refused(ref: ModelRef, match: str, capsys: pytest.CaptureFixture[str]) -> None:
    """On the CPU, by torch, for the GPU, and by the command that promotes."""
    for load in (read_weights, load_model, lambda one: Predictor(one, "cpu"), lambda one: GpuPredictor(one, torch.device("cpu"))):
        with pytest.raises(ModelError, match=match) as caught:
            load(ref)
        assert "\n" not in str(caught.value)
    assert main(["models", "promote", str(ref.path), "--to", str(ref.path.parent)]) == 1
    assert match in capsys.readouterr().err
    assert not (ref.path.parent / "promotions").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_not_finite(ref: ModelRef, value: float, capsys: pytest.CaptureFixture[str]) -> None:
    centers = load_file(ref.path / WEIGHTS)["centers"]
    centers[3, 5] = value
    refused(changed(ref, "centers", centers), "centers holds numbers that are not finite", capsys)


def test_a_negative_variance(ref: ModelRef, capsys: pytest.CaptureFixture[str]) -> None:
    variance = load_file(ref.path / WEIGHTS)[NORM]
    variance[0] = -1e-6
    refused(changed(ref, NORM, variance), f"{NORM} holds a negative variance", capsys)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("stem.0.weight", torch.zeros(8, 1, 5, 5), "stem.0.weight is F32"),
        ("stem.0.weight", torch.zeros(8, 1, 3, 3, dtype=torch.float64), "stem.0.weight is F64"),
        ("stem.0.weight", torch.zeros(8, 1, 3, 3, dtype=torch.int32), "stem.0.weight is I32"),
        ("attention.0.identity", torch.zeros(1, 8), "attention.0.identity is F32"),
        ("norm.bias", None, "norm.bias is missing"),
        ("another", torch.zeros(3), "another is not part of it"),
        ("stages.0.1.conv1.weight", torch.zeros(8, 8, 3, 3), "stages.0.1.conv1.weight is not part of it"),
    ],
)
def test_tensors_that_are_not_those_of_the_spec(
    ref: ModelRef, name: str, value: torch.Tensor | None, match: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused(changed(ref, name, value), match, capsys)


def test_weights_that_are_finite_and_too_large_are_seen_in_the_answers(ref: ModelRef, tmp_path: Path) -> None:
    big = changed(ref, "fuse.2.weight", load_file(ref.path / WEIGHTS)["fuse.2.weight"].sign() * 3e38)
    crops = faces(4)
    for predictor in (Predictor(big, "cpu"), GpuPredictor(big, torch.device("cpu"), torch.float32)):
        with pytest.raises(ModelError, match="not finite numbers"):
            predictor.predict(crops)
    plain = Predictor(big, "cpu")
    plain._network = TorchNetwork(load_model(big)[0], torch.device("cpu"), mirrored=True)
    with pytest.raises(ModelError, match="not finite numbers"):
        plain.probabilities(crops)
    with pytest.raises(ModelError, match="not finite numbers"):
        evaluate(made_faceset(tmp_path / "set", {"test": 8}), str(big.path), "test", "majority")


def test_weights_whose_products_are_too_large(ref: ModelRef) -> None:
    """Folding batch norms into convolutions multiplies them."""
    big = changed(ref, "norm.weight", load_file(ref.path / WEIGHTS)["norm.weight"] * 3e38)
    big = changed(big, "fuse.0.weight", load_file(ref.path / WEIGHTS)["fuse.0.weight"] * 3e38)
    with pytest.raises(ModelError, match="products of weights that are not finite"):
        Predictor(big, "cpu")
    with pytest.raises(ModelError, match="not finite numbers"):
        GpuPredictor(big, torch.device("cpu"), torch.float32).predict(faces(2))


@pytest.mark.parametrize("config", [SMALL, TINY, BASE, replace(SMALL, attention=False, taps=(1,)), replace(SMALL, classes=("a",), scale=1)])
def test_shapes_are_those_of_the_network(config: NetworkConfig) -> None:
    state = MultiscaleNet(config).state_dict()
    assert config.tensor_shapes() == {name: tuple(t.shape) for name, t in state.items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("config", [DetectionConfig(), DetectionConfig((4, 8), (8, 16, 24), (3, 1, 1), 8)])
def test_shapes_are_those_of_the_detector(config: DetectionConfig) -> None:
    assert config.tensor_shapes() == {name: tuple(tensor.shape) for name, tensor in DetectionNet(config).state_dict().items()}


@pytest.mark.parametrize(
    "sizes",
    [
        {"grid": 600},
        {"grid": 10**6},
        {"stem": 10**6},
        {"widths": (8, 30_000)},
        {"blocks": (1, 10**9)},
        {"widths": (2000, 2000), "blocks": (120, 120)},
        {"embedding": 2**40},
        {"token": 2**16},
        {"queries": 2**20},
        {"widths": (8,) * 100, "blocks": (1,) * 100},
        {"logit_scale": 0.0},
        {"logit_scale": 1e30},
        {"classes": ("a",) * 100_000},
    ],
)
def test_networks_that_no_machine_should_hold(sizes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="network"):
        NetworkConfig.from_json({**SMALL.to_json(), **sizes})


@pytest.mark.parametrize(
    "sizes", [{"stem": [2000, 4]}, {"widths": [1000] * 3}, {"blocks": [1, 1, 10**6]}, {"neck": 10**6}, {"stem": [512, 8]}]
)
def test_detectors_that_no_machine_should_hold(sizes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="detector"):
        DetectionConfig.from_json({**DetectionConfig().to_json(), **sizes})


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc for the size of the process")
def test_gigabytes_out_of_megabytes(tmp_path: Path) -> None:
    """A grid of 600 x 600 cells is a small tensor and a table of 3 GB."""
    config = {**asdict(SMALL), "scale": 1, "widths": [1, 1], "token": 4, "grid": 600}
    wide = object.__new__(NetworkConfig)
    for name, value in config.items():
        object.__setattr__(wide, name, tuple(value) if isinstance(value, list) else value)
    tensors = {name: torch.ones(shape, dtype=torch.float16) for name, shape in wide.tensor_shapes().items()}
    file = tmp_path / WEIGHTS
    spec = {**small_model(tmp_path / "small").card["spec"], "network": config}
    file.write_bytes(save(tensors, metadata={"spec": json.dumps(spec)}))
    assert file.stat().st_size < 12 * 2**20
    (tmp_path / CARD).write_text(json.dumps({"name": "wide", "digest": file_sha256(file)}), "utf-8")
    predictor = "fer_core.predict.predictor"
    imports = f"from fer_core.models.store import resolve_model; from {predictor} import Predictor; import fer_core.predict.onnx_backend"
    (said,) = run_bounded(imports, "Predictor(resolve_model(sys.argv[1]), 'cpu')", str(tmp_path))
    assert said.startswith("ModelError: the weights do not fit their own description (ValueError: a network takes at most ")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[" * 100_000,
        b'{"__metadata__": 3}',
        b'{"__metadata__": {"spec": 3}}',
        b'{"centers": null}',
        b'{"centers": {"dtype": "F32", "shape": [99999999999999999999], "data_offsets": [0, 4]}}',
        b'{"centers": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}',
        b'{"centers": {"dtype": 7, "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}',
    ],
)
def test_headers_that_are_none(ref: ModelRef, header: bytes) -> None:
    for length in (len(header), 2**40, 0):
        file = ref.path / WEIGHTS
        file.write_bytes(length.to_bytes(8, "little") + header + bytes(4))
        (ref.path / CARD).write_text(json.dumps({**ref.card, "digest": file_sha256(file)}), "utf-8")
        with pytest.raises(ModelError, match="do not fit their own description"):
            read_weights(resolve_model(str(ref.path)))
        with pytest.raises(DetectorError, match="not a file of the built-in detector"):
            read_detector(file)


def test_tensors_that_lie_over_one_another(ref: ModelRef) -> None:
    file = ref.path / WEIGHTS
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["norm.bias"]["data_offsets"] = header["norm.weight"]["data_offsets"]
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    (ref.path / CARD).write_text(json.dumps({**ref.card, "digest": file_sha256(file)}), "utf-8")
    with pytest.raises(ModelError, match="do not fit their own description"):
        read_weights(resolve_model(str(ref.path)))


@pytest.mark.parametrize(
    "entry",
    [
        {"temperature": float("nan")},
        {"temperature": 0},
        {"temperature": -1.0},
        {"temperature": 1e9},
        {"temperature": "1"},
        {"temperature": True},
        {"flip": 1},
        {"review": {"confidence": 1.5, "entropy": 0.5}},
        {"review": {"confidence": float("nan"), "entropy": 0.5}},
        {"review": {"confidence": "0.5", "entropy": 0.5}},
        {"review": [0.5, 0.5]},
        {"network": None},
        {"network": []},
        {"further": 1},
    ],
)
def test_specs_that_are_none(ref: ModelRef, entry: dict[str, object]) -> None:
    spec = {**ref.card["spec"], **entry}
    with pytest.raises((TypeError, ValueError, KeyError)):
        ModelSpec.from_json(spec)
    save_file(load_file(ref.path / WEIGHTS), ref.path / WEIGHTS, metadata={"spec": json.dumps(spec)})
    (ref.path / CARD).write_text(json.dumps({**ref.card, "digest": file_sha256(ref.path / WEIGHTS)}), "utf-8")
    with pytest.raises(ModelError, match="do not fit their own description"):
        read_weights(resolve_model(str(ref.path)))


def test_a_detector_of_other_numbers(tmp_path: Path) -> None:
    config, tensors = read_detector(SHIPPED)
    file = tmp_path / "detector.safetensors"
    metadata = {"config": json.dumps(config.to_json())}
    whole = {name: torch.from_numpy(tensor) for name, tensor in tensors.items()}
    for name, wrong in (
        ("outputs.0.bias", torch.full((15,), float("nan"))),
        ("outputs.0.bias", torch.zeros(16)),
        ("outputs.0.weight", torch.zeros(15, 48, 3, 3)),
        ("another", torch.zeros(1)),
    ):
        save_file({**whole, name: wrong}, file, metadata=metadata)
        for load in (read_detector, load_detector, BuiltinDetector, lambda one: BuiltinDetector(one, device="meta")):
            with pytest.raises(DetectorError, match="not a file of the built-in detector"):
                load(file)
    save_file({**whole, "outputs.0.weight": torch.full((15, 48, 1, 1), 3e38)}, file, metadata=metadata)
    with pytest.raises(DetectorError, match="not finite numbers"):
        BuiltinDetector(file).detect(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    save_detector(DetectionNet(DetectionConfig((4, 8), (8, 8, 8), (1, 1, 1), 8), norm=True), file)
    BuiltinDetector(file)


@pytest.mark.parametrize("harm", ["nan", "more", "less", "shape"])
def test_a_checkpoint_of_other_numbers(tmp_path: Path, harm: str) -> None:
    tensors = {"a": torch.arange(6.0), "b": torch.ones(2, 2)}
    written = {
        "nan": {**tensors, "a": torch.full((6,), float("nan"))},
        "more": {**tensors, "c": torch.ones(1)},
        "less": {"a": tensors["a"]},
        "shape": {**tensors, "b": torch.ones(1, 2)},
    }
    save_checkpoint(tmp_path / "state", written[harm], Progress(2, 1, 0.5, 0.5), {})
    with pytest.raises(TrainingError, match="damaged checkpoint"):
        load_checkpoint(tmp_path / "state", tensors, {})


def test_the_shipped_models_load() -> None:
    tensors, spec = read_weights(resolve_model("tiny"))
    assert sum(tensor.size for tensor in tensors.values()) == sum(map(prod, spec.network.tensor_shapes().values()))


def test_a_model_begun_from_such_weights_is_not_trained(ref: ModelRef, tmp_path: Path) -> None:
    from fer_core.training.train import Sources, train
    from tests.support.made_faces import QUICK

    spoilt = changed(ref, "centers", torch.full((8, 16), float("nan")))
    made = made_faceset(tmp_path / "set", {"train": 80})
    for sources in (Sources((made,), (), spoilt), Sources((made,), (spoilt,))):
        with pytest.raises(FerflowError, match="not finite"):
            train(sources, tmp_path / "out", QUICK, "cpu")


def test_half_of_a_large_number_is_none(ref: ModelRef) -> None:
    """What overflows when it is stored in half precision is found when it is loaded."""
    state = {**load_file(ref.path / WEIGHTS), "centers": torch.full((8, 16), 1e6)}
    with pytest.raises(ModelError, match="not finite"):
        load_model(save_model(ref.path.parent / "half", state, ModelSpec.from_json(ref.card["spec"]), {"name": "half"}, half=True))
