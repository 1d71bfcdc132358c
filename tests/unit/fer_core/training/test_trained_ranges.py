"""A training writes the ranges of its network's activations, by which CPUs label in eight bits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fer_core.faceset import read_split
from fer_core.models.store import load_model
from fer_core.predict.predictor import Predictor
from fer_core.training.run import logits
from fer_core.training.train import Sources, train
from tests.support.made_faces import QUICK, made_faceset


def test_a_trained_model_labels_in_eight_bits_on_a_cpu(tmp_path: Path) -> None:
    faceset = made_faceset(tmp_path / "faceset", {"train": 128})
    made = train(Sources((faceset,)), tmp_path, replace(QUICK, epochs=3), "cpu")
    network, spec = load_model(made)
    assert spec.ranges is not None
    crops = read_split(faceset, "train", luma=True).crops
    said, exact = Predictor(made, "cpu").logits(crops), logits(network, crops, torch.device("cpu"))
    assert 0 < np.abs(said - exact).mean() < 0.1 * exact.std()
    assert np.array_equal(Predictor(made, "cpu", quantized=False).logits(crops).argmax(1), exact.argmax(1))
