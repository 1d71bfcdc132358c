import dataclasses
import json
from typing import Any

import pytest

from fer_core.losses.objective import LossConfig, LossKind
from tests.support.loss_cases import KINDS


def test_usual_values_depend_on_the_kind() -> None:
    values = {kind: (c.margin, c.compactness, c.separation) for kind in KINDS for c in [LossConfig(kind)]}
    assert values == {
        "center_cosine": (0.1, 0.5, 1.0),
        "cross_entropy": (0, 0, 0),
        "center": (0, 0.01, 0),
        "cosface": (0.35, 0, 0),
        "island": (0, 0.01, 10.0),
    }
    assert LossConfig() == LossConfig("center_cosine")


@pytest.mark.parametrize("kind", KINDS)
def test_json_and_back(kind: LossKind) -> None:
    assert LossConfig.from_json({"kind": kind}) == LossConfig(kind)
    assert LossConfig.from_json(json.loads(json.dumps(LossConfig(kind).to_json()))) == LossConfig(kind)


def test_given_values_are_kept() -> None:
    assert LossConfig.from_json({}) == LossConfig()
    mixed = LossConfig.from_json({"compactness": 0, "separation": 2})
    assert mixed == LossConfig("center_cosine", 0.1, 0.0, 2.0)
    assert mixed.to_json() == {"kind": "center_cosine", "margin": 0.1, "compactness": 0.0, "separation": 2.0}
    assert dataclasses.replace(mixed, margin=0.2).to_json() == {**mixed.to_json(), "margin": 0.2}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"kind": "triplet"}, "'triplet'.*island"),
        ({"kind": ["center"]}, "unknown loss"),
        ({"kind": None}, "unknown loss"),
        ({"marign": 0.1}, "no 'marign'"),
        ({"margin": "0.1"}, "margin.*'0.1'"),
        ({"separation": True}, "separation.*True"),
        ([], "JSON object"),
    ],
)
def test_what_is_no_configuration(value: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        LossConfig.from_json(value)


@pytest.mark.parametrize("name", ["margin", "compactness", "separation"])
@pytest.mark.parametrize("value", [-1e-9, float("nan"), float("inf")])
def test_numbers_out_of_range(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"the {name} of a loss"):
        LossConfig.from_json({name: value})


@pytest.mark.parametrize(
    ("kind", "name"), [("cross_entropy", "margin"), ("center", "separation"), ("cosface", "compactness"), ("island", "margin")]
)
def test_numbers_that_a_kind_does_not_have(kind: LossKind, name: str) -> None:
    with pytest.raises(ValueError, match=f"{kind} has no {name}"):
        LossConfig.from_json({"kind": kind, name: 0.5})
    assert LossConfig.from_json({"kind": kind, name: 0}) == LossConfig(kind)


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LossConfig().margin = 0.3
