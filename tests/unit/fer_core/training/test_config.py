import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from fer_core.errors import TrainingError
from fer_core.losses.objective import LossConfig
from fer_core.models.network import BASE, TINY
from fer_core.training.config import TrainConfig
from tests.support.made_faces import QUICK


@pytest.mark.parametrize("config", [TrainConfig(), QUICK, TrainConfig.from_json({"loss": {"kind": "island"}, "network": "base"})])
def test_survives_json(config: TrainConfig) -> None:
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_may_be_partial() -> None:
    config = TrainConfig.from_json({"epochs": 5, "network": {"stem": 16}, "loss": {"margin": 0.3}})
    assert config == replace(TrainConfig(), epochs=5, network=replace(TINY, stem=16), loss=LossConfig(margin=0.3))
    assert TrainConfig.from_json({}) == TrainConfig()


def test_network_by_name() -> None:
    assert TrainConfig.from_json({"network": "base"}).network == BASE
    assert TrainConfig.from_json({"network": {"size": "base", "dropout": 0.1}}).network == replace(BASE, dropout=0.1)


def test_classifier_follows_the_loss() -> None:
    assert TrainConfig.from_json({"loss": {"kind": "center"}}).network == replace(TINY, classifier="linear")
    with pytest.raises(TrainingError, match="needs a linear classifier"):
        TrainConfig.from_json({"loss": {"kind": "center"}, "network": {"classifier": "cosine"}})


def test_a_margin_that_eight_classes_cannot_keep() -> None:
    with pytest.raises(TrainingError, match="does not suit the network"):
        TrainConfig.from_json({"loss": {"margin": 1.5}})


@pytest.mark.parametrize("value", [{"epochs": 0}, {"batch": 1}])
def test_too_little(value: dict[str, int]) -> None:
    with pytest.raises(TrainingError, match="at least one epoch"):
        TrainConfig.from_json(value)


@pytest.mark.parametrize("name", ["distill", "smoothing", "dev_share", "average"])
def test_shares(name: str) -> None:
    with pytest.raises(TrainingError, match="shares"):
        TrainConfig.from_json({name: 1.5})


@pytest.mark.parametrize(
    "value",
    [
        *({name: -1} for name in ("weight_decay", "sam_radius", "balance", "patience", "learning_rate", "seed")),
        {"learning_rate": 0},
        {"seed": 2**32},
        *({"name": name} for name in ("", ".", "..", "../x", "a/b", "/a")),
        {"network": {"classes": ["anger", "fear"]}},
    ],
)
def test_no_such_run(value: dict[str, object]) -> None:
    with pytest.raises(TrainingError) as refused:
        TrainConfig.from_json(value)
    assert "wrong entry" not in str(refused.value)  # one sentence that says what is asked for


@pytest.mark.parametrize(
    "value",
    [
        {"strange": 1},
        {"network": {"strange": 1}},
        {"network": "huge"},
        {"network": 5},
        {"loss": {"strange": 1}},
        {"loss": {"kind": "strange"}},
        {"loss": {"margin": -1}},
        {"loss": 5},
        {"augment": {"strange": 1}},
        {"augment": {"blur": "x"}},
        {"augment": {"erase": 1.5}},
        {"augment": {"zoom": 1.0}},
        {"augment": {"shift": -0.1}},
        {"epochs": "5"},
        {"epochs": 1.5},
        {"batch": 32.5},
        {"half": "no"},
        {"name": 5},
        {"seed": True},
        {"learning_rate": float("nan")},
        {"precision": "fp16"},
        {"network": {"widths": 8}},
        {"network": {"blocks": [1]}},
        {"network": {"taps": [9]}},
        {"network": {"taps": []}},
        {"network": {"token": 9}},
        {"network": {"scale": 0}},
        {"network": {"dropout": 2}},
        {"network": {"logit_scale": "x"}},
        [1],
    ],
)
def test_wrong_entries(value: object) -> None:
    with pytest.raises(TrainingError, match="wrong entry"):
        TrainConfig.from_json(value)  # type: ignore[arg-type]


def test_recipes_that_come_along_are_whole() -> None:
    found = {entry.name: TrainConfig.from_json(json.loads(entry.read_text())) for entry in (files("fer_core") / "recipes").iterdir()}
    assert found["base.json"].network == BASE
    assert found["tiny.json"] == TrainConfig()
    assert found["tiny-again.json"].network == TINY


def test_configurations_of_the_documented_rounds_are_whole() -> None:
    folder = Path(__file__).parents[4] / "benchmarks" / "accuracy"
    head = {"affine": False, "class_bias": True, "logit_scale": 8.0}
    for name, differs in (("third_round", {}), ("fourth_round", {}), ("fifth_round", head)):
        config = TrainConfig.from_json(json.loads((folder / f"{name}.json").read_text()))
        assert (config.network, f"{config.name}_round") == (replace(TINY, **differs), name)
