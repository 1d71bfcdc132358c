"""What the gate lets pass and what not, and why."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from fer_core.errors import ModelError
from fer_core.training.promotion_gate import CORRUPTIONS, GateBounds, GateOutputs, judge

COUNT = 2000
TRUTH = np.random.default_rng(0).choice(8, COUNT, p=[0.3, 0.25, 0.12, 0.12, 0.1, 0.07, 0.03, 0.01]).astype(np.int64)
HARD = np.random.default_rng(1).random(COUNT)
"""Both models fail at the hard faces first, as models of one kind do."""


def answers(right=0.8, corrupted=0.7, *, confident=None, digest="a", pace=100.0, wrong_at=None):
    """A model that is right on all but the hardest faces, sure of itself to the same degree."""
    said = np.where(right > HARD, TRUTH, (TRUTH + 1) % 2)
    if wrong_at is not None:
        said = np.where(wrong_at == TRUTH, (TRUTH + 1) % 8, said)
    sure = right if confident is None else confident
    clean = np.full((COUNT, 8), (1 - sure) / 7)
    clean[np.arange(COUNT), said] = sure
    covered = np.where(corrupted > HARD, TRUTH, (TRUTH + 1) % 8)
    return GateOutputs("model", digest, clean, dict.fromkeys(CORRUPTIONS, covered), pace)


CHAMPION = answers()


def verdict(challenger, **bounds):
    return judge(TRUTH, CHAMPION, replace(challenger, digest="b"), GateBounds(**bounds))


def failed(challenger, **bounds):
    return [check.name for check in verdict(challenger, **bounds).checks if not check.passed]


def test_an_equal_model_passes():
    said = verdict(answers())
    assert said.passed
    assert said.reasons == ()
    assert (said.champion, said.challenger, said.faces) == ("a", "b", COUNT)
    assert said.unjudged == {"fear": int((TRUTH == 6).sum()), "contempt": int((TRUTH == 7).sum())}
    names = [check.name for check in said.checks]
    assert names[:2] == ["accuracy", "macro F1"]
    assert {
        "recall of anger",
        "recall of disgust",
        "calibration error",
        "accuracy under occlusion",
        "accuracy under rotation",
        "speed",
    } <= set(names)
    assert "recall of contempt" not in names


@pytest.mark.parametrize(
    ("challenger", "reasons"),
    [
        (answers(0.85, 0.75), []),
        (answers(0.76, 0.7), ["accuracy", "macro F1"]),
        (answers(0.8, 0.6), ["accuracy under occlusion", "accuracy under rotation"]),
        (answers(0.8, confident=0.95), ["calibration error"]),
        (answers(0.8, pace=79.0), ["speed"]),
        (answers(0.8, pace=81.0), []),
    ],
)
def test_each_bound_is_held_by_itself(challenger, reasons):
    assert failed(challenger) == reasons


def test_a_class_that_is_lost_is_not_outweighed():
    """Better at everything else, and blind to disgust."""
    lost = failed(answers(0.99, 0.9, confident=0.93, wrong_at=5), macro_f1=-1)
    assert lost == ["recall of disgust"]


def test_a_class_of_few_is_reported_and_does_not_gate():
    said = verdict(answers(0.82, 0.75, confident=0.81, wrong_at=7))
    assert said.passed
    assert said.unjudged["contempt"] < 100
    assert said.comparison.recall["contempt"].challenger == 0


def test_the_reasons_are_sentences():
    (reason,) = verdict(answers(pace=50.0)).reasons
    assert reason == "speed: +0.5000 against a bound of +0.8000, not held"


def test_a_verdict_is_json():
    value = json.loads(json.dumps(verdict(answers(0.7)).to_json()))
    assert value["passed"] is False
    assert value["checks"][0]["name"] == "accuracy"
    assert len(value["reasons"]) == sum(not check["passed"] for check in value["checks"])


def test_bounds_survive_json_and_wrong_ones_are_refused():
    bounds = GateBounds(accuracy=-0.01, support=30)
    assert GateBounds.from_json(json.loads(json.dumps(asdict(bounds)))) == bounds
    for wrong in ({"accuracy": "much"}, {"accurancy": 0.1}, {"accuracy": 3}, {"support": 0}, {"speed": -1}, {"recall": float("nan")}):
        with pytest.raises(ModelError) as caught:
            GateBounds.from_json(wrong)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -0.1, 1.5])
def test_answers_that_are_no_probabilities_are_not_judged(number):
    """The largest of what is no number is the first class: such a champion would lose to anything, and such a challenger is none."""
    corrupted = CHAMPION.clean.copy()
    corrupted[7, 3] = number
    for pair in ((replace(CHAMPION, clean=corrupted), CHAMPION), (CHAMPION, replace(CHAMPION, clean=corrupted))):
        with pytest.raises(ModelError, match="are not probabilities"):
            judge(TRUTH, *pair, GateBounds())


@pytest.mark.parametrize("pace", [float("nan"), float("inf"), -float("inf")])
def test_a_pace_that_is_no_number_passes_nothing(pace):
    assert "speed" in failed(answers(pace=pace))
    assert not judge(TRUTH, replace(CHAMPION, faces_per_second=pace), answers(digest="b"), GateBounds()).passed


@pytest.mark.parametrize("name", ["accuracy", "macro_f1", "recall", "calibration", "robustness", "speed"])
def test_bounds_that_are_no_numbers(name):
    with pytest.raises(TypeError, match="a number"):
        GateBounds(**{name: float("nan")})
