"""The GPU's predictor, on the CPU, against the reference."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data

from fer_core.errors import ModelError
from fer_core.gpu.predictor import GpuPredictor
from fer_core.models.store import resolve_model
from fer_core.predict.predictor import Predictor
from tests.support.made_faces import faces

torch.set_num_threads(1)
CPU = torch.device("cpu")
BATCH = 32


def crops(count):
    """Real and drawn ones, no two alike."""
    drawn, picture = np.random.default_rng(0), data.astronaut()
    cut = []
    for _ in range(count):
        x, y, side = int(drawn.integers(140, 220)), int(drawn.integers(30, 90)), int(drawn.integers(90, 170))
        cut.append(cv2.resize(picture[y : y + side, x : x + side], (112, 112)))
    return np.concatenate([np.stack(cut), faces(count, colour=True)])


@pytest.fixture(scope="module")
def shown():
    return crops(35)


@pytest.fixture(scope="module")
def reference(shown):
    return Predictor(resolve_model("tiny"), "cpu", quantized=False).predict(shown)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-4), (torch.float16, 0.01), (torch.bfloat16, 0.04)])
def test_answers_are_the_references(shown, reference, dtype, tolerance):
    """The issue's bound is 0.01, which half precision keeps; bfloat16 does not."""
    found = GpuPredictor("tiny", CPU, dtype, BATCH).predict(shown)
    assert np.abs(found.confidence - reference.confidence).max() <= tolerance
    assert np.abs(found.probabilities.sum(1) - 1).max() < 1e-6
    clear = np.sort(reference.probabilities, 1)[:, -1] - np.sort(reference.probabilities, 1)[:, -2] > 2 * tolerance
    assert (found.expression == reference.expression)[clear].all()
    assert (found.needs_review == reference.needs_review).mean() > 0.9


def test_the_company_changes_nothing(shown):
    """Not even a bit: every batch is filled up to one size."""
    predictor = GpuPredictor("tiny", CPU, torch.float16, BATCH)
    together = predictor.logits(shown)
    assert (predictor.logits(shown[40:41]) == together[40:41]).all()
    assert (predictor.logits(shown[::-1]) == together[::-1]).all()


def test_luma_is_what_the_reference_takes_for_grey(shown):
    grey = shown[..., 1]
    predictor = GpuPredictor("tiny", CPU, torch.float32, BATCH)
    assert np.allclose(predictor.logits(grey), predictor.logits(np.repeat(grey[..., None], 3, 3)), atol=2e-4)


def test_no_faces():
    found = GpuPredictor("tiny", CPU, torch.float32, BATCH).predict(np.zeros((0, 112, 112, 3), np.uint8))
    assert (len(found), found.probabilities.shape) == (0, (0, 8))


def test_it_is_the_model_that_was_named():
    ref = resolve_model("tiny")
    assert GpuPredictor(ref, CPU).digest == ref.digest
    with pytest.raises(ModelError):
        GpuPredictor("no such model", CPU)
