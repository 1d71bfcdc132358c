"""A model that an earlier release saved loads, answers as it did, and labels under the same pipeline."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fer_core.models.store import read_weights, resolve_model
from fer_core.predict.answer_rule import prior_key, usual_prior_of
from fer_core.predict.predictor import Predictor
from tests.golden.make_earlier_model import CROPS
from tests.support.made_faces import faces

GOLDEN = Path(__file__).parents[1] / "golden" / "earlier-model"
SAID = json.loads((GOLDEN / "answers.json").read_text(encoding="utf-8"))


def test_it_loads_as_it_is():
    ref = resolve_model(str(GOLDEN))
    assert ref.digest == SAID["digest"]
    _, spec = read_weights(ref)
    assert spec.prior is None
    assert usual_prior_of(ref) == "training"
    assert prior_key(ref, "training") == "training"  # which leaves the digest of a run's pipeline as it was


@pytest.mark.parametrize("runtime", ["ONNX Runtime", "torch"])
def test_it_answers_as_it_did(runtime, monkeypatch):
    if runtime == "torch":
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    told = Predictor(resolve_model(str(GOLDEN)), "cpu").predict(faces(CROPS, colour=True))
    assert told.probabilities == pytest.approx(np.array(SAID["probabilities"]), abs=2e-4)  # instruction sets round differently
    assert told.needs_review.tolist() == SAID["needs_review"]
    assert told.novelty is None
