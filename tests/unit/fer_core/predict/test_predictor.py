import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fer_core.errors import ModelError
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import softmax
from fer_core.models.network import TINY, NetworkConfig
from fer_core.predict.answer_rule import round_to_one
from fer_core.predict.predictor import Predictor, load_predictor, on_cpu, torch_device
from fer_core.predict.torch_backend import BATCH
from tests.support.made_faces import SMALL, faces, small_model, tinted

Threads = Callable[[int], None]

shares = arrays(np.float64, 8, elements=st.floats(0, 1)).filter(lambda row: row.sum() > 1e-3).map(lambda row: row / row.sum())
logits = arrays(np.float64, 8, elements=st.floats(-30, 30)).map(lambda row: softmax(row[None])[0])
halves = st.lists(st.integers(0, 20), min_size=8, max_size=8).filter(any).map(lambda n: np.array(n) / sum(n))


@settings(deadline=None, max_examples=300)
@given(st.one_of(shares, logits, halves))
@example(np.full(8, 0.125))
@example(np.array([0.29, 0.57, 0.14, 0, 0, 0, 0, 0]))
@example(np.array([1 / 3, 1 / 3, 1 / 3, 0, 0, 0, 0, 0]))
@example(np.array([0.30000000000000004, 0.3, 0.4, 0, 0, 0, 0, 0]))
def test_rounding(row: np.ndarray) -> None:
    out = round_to_one(row[None])[0]
    assert abs(out.sum() - 1) < 1e-9
    assert abs(float(np.sum(out.astype(np.float32))) - 1) < 1e-6
    assert abs(float(np.sum(out.astype(np.float32), dtype=np.float64)) - 1) < 1e-6
    assert (out >= 0).all()
    assert np.array_equal(out, np.round(out, 4))
    assert np.abs(out - row).max() <= 1e-4 + 1e-12
    order = np.argsort(row, kind="stable")
    assert (np.diff(out[order])[np.diff(row[order]) > 0] >= 0).all()  # no class overtakes another
    assert row[out.argmax()] >= row.max() - 1e-4
    assert out[row.argmax()] == out.max()


def test_a_value_one_step_larger_is_not_overtaken() -> None:
    small = 0.15
    large = np.nextafter(small, 1)
    row = np.array([small, large, 0.33333, 0.36667 - (large - small), 0, 0, 0, 0])
    for scale in np.linspace(0.999, 1.0, 50):  # some of these fall together once multiplied by 10,000
        varied = row * scale
        varied[3] += 1 - varied.sum()
        out = round_to_one(varied[None])[0]
        assert out[1] >= out[0]


def test_rounding_takes_the_largest_remainder_and_on_a_tie_the_first() -> None:
    row = np.array([[0.10006, 0.20007, 0.69987, 0, 0, 0, 0, 0]])
    assert round_to_one(row)[0, :3].tolist() == [0.1001, 0.2001, 0.6998] or round_to_one(row)[0, :3].tolist() == [0.1, 0.2001, 0.6999]
    thirds = np.array([[1 / 3, 1 / 3, 1 / 3]])
    assert round_to_one(thirds)[0].tolist() == [0.3334, 0.3333, 0.3333]


@pytest.fixture
def use_threads() -> Iterator[Threads]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor(small_model(tmp_path_factory.mktemp("model")), "cpu")


def test_predictions_agree_with_each_other(predictor: Predictor) -> None:
    said = predictor.predict(faces(70, colour=True))
    p = said.probabilities
    assert (p.shape, p.dtype) == ((70, 8), np.float32)
    assert np.abs(p.sum(1) - 1).max() < 1e-6
    assert np.array_equal(said.expression, p.argmax(1))
    assert np.array_equal(said.confidence, p.max(1))
    q = p.astype(np.float64)
    entropy = -(q * np.log(np.where(q > 0, q, 1))).sum(1) / np.log(8)
    assert np.abs(said.entropy - entropy).max() < 1e-5
    assert np.array_equal(said.needs_review, said.confidence < 0.5)
    assert len(set(said.expression.tolist())) > 1  # else the rest would prove little


@pytest.mark.parametrize(("network", "colour", "threads"), [(SMALL, True, 2), (SMALL, False, 1), (TINY, True, 1)])
@pytest.mark.parametrize("runtime", ["torch", "ONNX Runtime"])
def test_answers_depend_on_the_face_alone(
    runtime: str,
    network: NetworkConfig,
    colour: bool,
    threads: int,
    tmp_path: Path,
    use_threads: Threads,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not on how many faces, or which, are asked about together."""
    use_threads(threads)
    monkeypatch.setenv("FERFLOW_THREADS", str(threads))
    if runtime == "torch":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    predictor = Predictor(small_model(tmp_path, network), "cpu")
    crops = faces(70, seed=4, colour=colour)
    whole = predictor.probabilities(crops)
    for count in (1, 7, BATCH, BATCH + 1):
        assert np.array_equal(predictor.probabilities(crops[:count]), whole[:count])
    shuffled = np.random.default_rng(0).permutation(70)
    assert np.array_equal(predictor.probabilities(crops[shuffled]), whole[shuffled])
    assert np.array_equal(predictor.probabilities(crops[67:68]), whole[67:68])


def test_no_face(predictor: Predictor) -> None:
    said = predictor.predict(np.zeros((0, 112, 112, 3), np.uint8))
    assert len(said) == 0
    assert said.probabilities.shape == (0, 8)
    assert predictor.logits(np.zeros((0, 112, 112), np.uint8)).shape == (0, 8)


def test_grey_and_its_rgb_copy_agree(predictor: Predictor) -> None:
    grey = faces(8)
    assert np.allclose(predictor.probabilities(grey), predictor.probabilities(np.repeat(grey[..., None], 3, -1)), atol=1e-4)
    assert not np.allclose(predictor.probabilities(grey), predictor.probabilities(tinted(grey)), atol=1e-4)


def test_mirror_images_are_averaged(predictor: Predictor, tmp_path: Path) -> None:
    crops = faces(8)
    assert np.allclose(predictor.logits(crops), predictor.logits(np.ascontiguousarray(crops[:, :, ::-1])), atol=1e-5)


def test_temperature_flattens(tmp_path: Path) -> None:
    sharp = Predictor(small_model(tmp_path / "a", temperature=0.2), "cpu").probabilities(faces(8))
    flat = Predictor(small_model(tmp_path / "b", temperature=5.0), "cpu").probabilities(faces(8))
    assert (sharp.max(1) > flat.max(1)).all()
    assert np.array_equal(sharp.argmax(1), flat.argmax(1))


def test_a_saved_model_is_the_network_it_was(tmp_path: Path) -> None:
    said = load_predictor(str(small_model(tmp_path / "a folder").path), "cpu")
    again = Predictor(small_model(tmp_path / "b"), "cpu")
    assert said.digest == again.digest
    assert np.array_equal(said.probabilities(faces(9)), again.probabilities(faces(9)))


def test_other_classes_are_refused(tmp_path: Path) -> None:
    ref = small_model(tmp_path, replace(SMALL, classes=EXPRESSIONS[:7]))
    with pytest.raises(ModelError, match="eight expressions"):
        Predictor(ref, "cpu")


def test_devices() -> None:
    assert torch_device("cpu") == torch.device("cpu")
    assert torch_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none() -> None:
    with pytest.raises(ModelError, match="CUDA"):
        torch_device("cuda")


def test_torch_gives_the_same_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ONNX Runtime is missing."""
    ref, crops = small_model(tmp_path), faces(20, colour=True)
    quick = Predictor(ref, "cpu")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    plain = Predictor(ref, "cpu")
    assert type(plain._network) is not type(quick._network)
    assert np.abs(plain.logits(crops) - quick.logits(crops)).max() < 1e-3


def test_labelling_on_a_cpu_needs_no_torch() -> None:
    """Two seconds and a hundred megabytes of every worker."""
    code = """
import sys, numpy as np
from fer_core.detect.registry import build
from fer_core.predict.predictor import load_predictor, on_cpu
picture = np.zeros((64, 64, 3), np.uint8)
assert len(build("builtin").detect(picture)) == 0
load_predictor("tiny", "cpu").predict(np.zeros((1, 112, 112, 3), np.uint8))
from fer_core.pipeline.worker_models import prepare_process
prepare_process()
assert on_cpu("cpu")
import flows.label
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_auto_is_the_gpu_where_torch_sees_one() -> None:
    assert on_cpu("auto") == (not torch.cuda.is_available())
