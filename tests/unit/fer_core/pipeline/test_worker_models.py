"""The tools a run names, with a small network of random weights and a detector that takes no file."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from fer_core.align.face_extractor import CpuFaceExtractor
from fer_core.errors import DetectorError, ModelError
from fer_core.models.review_thresholds import ReviewRule
from fer_core.pipeline import worker_models
from fer_core.pipeline.worker_models import load_worker_models
from tests.support import fakes


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import torch

    from fer_core.models.network import TINY, MultiscaleNet
    from fer_core.models.store import ModelSpec, save_model

    torch.manual_seed(0)
    network = MultiscaleNet(TINY)
    spec = ModelSpec(network=TINY, temperature=1.0, flip=True, review=ReviewRule(0.5, 0.9))
    return save_model(tmp_path_factory.mktemp("model"), network.state_dict(), spec, {"name": "random"})


@pytest.fixture
def run(model, monkeypatch):
    monkeypatch.setattr(worker_models._thread, "tools", {}, raising=False)
    monkeypatch.setattr("fer_core.detect.registry.build", lambda spec, device: fakes.FakeDetector())
    return replace(fakes.config("/labels"), model=str(model.path), model_digest=model.digest, device="cpu")


def test_they_are_loaded_once_a_thread(run):
    first = load_worker_models(run)
    assert load_worker_models(replace(run, run_id="run-b", shard_size=5)) is first
    found = []
    thread = threading.Thread(target=lambda: found.append(load_worker_models(run)))
    thread.start()
    thread.join()
    assert found[0].detector is not first.detector


def test_other_versions_than_planned_are_refused(run):
    with pytest.raises(DetectorError, match="detector fake is fake-1 on this worker, the run was planned with fake-2"):
        load_worker_models(replace(run, detector_identity="fake-2"))
    with pytest.raises(ModelError, match=r"on this worker, the run was planned with 111111111111"):
        load_worker_models(replace(run, model_digest="1" * 64))


def test_the_network_gets_as_many_threads_as_told(run, monkeypatch):
    import cv2
    import onnxruntime

    told = []

    class Options(onnxruntime.SessionOptions):
        def __setattr__(self, name, value):
            told.extend([value] if name == "intra_op_num_threads" else [])
            super().__setattr__(name, value)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    monkeypatch.setenv("FERFLOW_THREADS", "2")
    worker_models.prepare_process.cache_clear()
    load_worker_models(run)
    assert (told, cv2.getNumThreads()) == ([2], 1)


def test_an_answer_depends_on_its_crop_alone(run):
    """However a face is batched, its probabilities are the same to the last bit."""
    predictor = load_worker_models(run).predictor
    crops = np.random.default_rng(1).integers(0, 256, (70, 112, 112, 3), np.uint8)
    together = predictor.predict(crops)
    np.testing.assert_allclose(together.probabilities.sum(axis=1), 1, atol=1e-6)
    apart = [predictor.predict(crops[start:stop]) for start, stop in ((0, 1), (1, 4), (4, 5), (5, 69), (69, 70))]
    np.testing.assert_array_equal(together.probabilities, np.concatenate([answer.probabilities for answer in apart]))
    np.testing.assert_array_equal(together.entropy, np.concatenate([answer.entropy for answer in apart]))


@pytest.mark.parametrize("detector", ["builtin", "yunet:/models/yunet.onnx"])
def test_on_a_gpu_pictures_are_looked_at_together(run, monkeypatch, detector):
    """A pretended one: what is loaded for it is there, and is asked."""

    class Predictor(fakes.FakePredictor):
        def __init__(self, model, options):
            super().__init__(digest=run.model_digest)
            self.model, self.options = model, options

    class FaceExtractor:
        pictures, side = 128, 4096

    monkeypatch.setattr("fer_core.predict.predictor.on_cpu", lambda device: device == "cpu")
    monkeypatch.setattr("fer_core.gpu.predictor.GpuPredictor", Predictor)
    monkeypatch.setattr("fer_core.gpu.face_extractor.GpuFaceExtractor", FaceExtractor)
    loaded = load_worker_models(replace(run, device="auto", detector=detector))
    assert loaded.predictor.model == run.model
    assert isinstance(loaded.extractor(), FaceExtractor if detector == "builtin" else CpuFaceExtractor)
    alone = load_worker_models(replace(run, device="cpu", detector=detector))
    assert isinstance(alone.extractor(), CpuFaceExtractor)
    assert not isinstance(alone.predictor, Predictor)
