"""Class priors: names, shares, and which calibration serves given shares."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.errors import ModelError, UsageError
from fer_core.labels import EXPRESSIONS
from fer_core.models.prior import PRIORS, ClassPrior, card_shares, normalised_shares, parse_prior, shares_text
from tests.support.made_faces import class_prior

EIGHT = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=8, max_size=8).filter(lambda values: sum(values) > 1e-6)


@given(EIGHT)
def test_shares_sum_to_one_and_are_read_back(values: list[float]) -> None:
    shares = normalised_shares(values)
    assert math.isclose(sum(shares), 1, abs_tol=1e-5)
    assert parse_prior(shares_text(shares)) == shares  # or a run could not be resumed by its own command
    assert normalised_shares(dict(zip(EXPRESSIONS, values, strict=True))) == shares


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([1.0] * 7, "8 shares"),
        ([1.0] * 9, "8 shares"),
        ([*[1.0] * 7, -0.1], "at least 0"),
        ([0.0] * 8, "not all 0"),
        ([*[1.0] * 7, math.nan], "finite"),
        ([*[1.0] * 7, math.inf], "finite"),
        ([*[1.0] * 7, True], "numbers"),
        ([*[1.0] * 7, "1"], "numbers"),
        ({"neutral": 1.0}, "gives the shares of neutral"),
        ("training", "8 shares"),
        (None, "8 shares"),
    ],
)
def test_what_is_no_prior(values: object, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        normalised_shares(values)


def test_huge_shares_are_shares() -> None:
    assert normalised_shares([1e308] * 8) == (0.125,) * 8


@pytest.mark.parametrize("name", PRIORS)
def test_names(name: str) -> None:
    assert parse_prior(name) == name


@pytest.mark.parametrize("text", ["", "even", "1,2,3", "1,1,1,1,1,1,1,x", "Training"])
def test_other_texts(text: str) -> None:
    with pytest.raises(UsageError):
        parse_prior(text)


def test_parts_of_the_bias() -> None:
    prior = class_prior(tempered=0.5)
    assert prior.log_prior("training") == pytest.approx(prior.bias)
    assert prior.log_prior("tempered") == pytest.approx(np.array(prior.bias) / 2)
    assert not prior.log_prior("balanced").any()


def test_given_shares_take_the_nearest_calibration() -> None:
    prior = class_prior()
    even = np.full(8, 1 / 8)
    assert prior.nearest(even) is prior.calibrations["balanced"]
    own = np.exp(prior.bias) / np.exp(prior.bias).sum()
    assert prior.nearest(own) is prior.calibrations["training"]
    assert prior.nearest(np.sqrt(own) / np.sqrt(own).sum()) is prior.calibrations["tempered"]


def test_json_and_back() -> None:
    prior = class_prior()
    assert ClassPrior.from_json(json.loads(json.dumps(asdict(prior)))) == prior


@pytest.mark.parametrize(
    "change",
    [
        {"bias": [0.0] * 7},
        {"bias": [0.0] * 7 + [99.0]},
        {"bias": [0.0] * 7 + [float("nan")]},
        {"tempered": 1.5},
        {"calibrations": {}},
        {"novelty": {"scale": 8, "offset": [0.0] * 8, "quantiles": [1.0, 0.0], "limit": 0.5}},
        {"novelty": {"scale": 8, "offset": [0.0] * 8, "quantiles": [0.0, 1.0], "limit": 2}},
        {"novelty": {"scale": 0, "offset": [0.0] * 8, "quantiles": [0.0, 1.0], "limit": 1}},
        {"novelty": {"scale": 8, "offset": [0.0] * 7, "quantiles": [0.0, 1.0], "limit": 1}},
    ],
)
def test_what_no_training_gives(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        ClassPrior.from_json({**json.loads(json.dumps(asdict(class_prior()))), **change})


@pytest.mark.parametrize("temperature", [0, -1, 0.001, 1e9, float("nan"), float("inf"), "1", None, True])
def test_a_temperature_that_no_fit_gives(temperature: object) -> None:
    """Regression: under a temperature of 0 all answers are NaN, and every face would be neutral."""
    told = json.loads(json.dumps(asdict(class_prior())))
    told["calibrations"]["tempered"]["temperature"] = temperature
    with pytest.raises((ValueError, TypeError)):
        ClassPrior.from_json(told)


def test_shares_of_a_card() -> None:
    counts = dict.fromkeys(EXPRESSIONS, 10)
    card = {"trained_on": [{"per_class": {"train": counts}}, {"per_class": {"train": {"neutral": 80}}}]}
    assert card_shares(card) == pytest.approx([90 / 160] + [10 / 160] * 7, abs=1e-6)
    strange = {"per_class": {"train": {"neutral": "x"}}}
    for damaged in ({}, {"trained_on": []}, {"trained_on": [{}]}, {"trained_on": 3}, {"trained_on": [strange]}):
        with pytest.raises(ModelError, match="use --prior training"):
            card_shares(damaged)
