"""From logits to answers: priors, precision, novelty, and models of earlier releases."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer_core.errors import ModelError, UsageError
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import softmax
from fer_core.models.card import ModelRef
from fer_core.models.prior import PRIORS
from fer_core.models.store import read_weights
from fer_core.predict.answer_rule import AnswerOptions, answer_rule, prior_key, usual_prior, usual_prior_of
from fer_core.predict.predictor import Predictor
from tests.support.made_faces import class_prior, faces, small_model, small_model_with_prior, small_spec

LOGITS = np.random.default_rng(0).normal(0, 3, (50, 8))
REF = ModelRef(Path("nowhere"), "model", "0" * 64, {})
KNOWN = replace(small_spec(), prior=class_prior())


@pytest.mark.parametrize("name", PRIORS)
def test_the_formula(name: str) -> None:
    prior = class_prior()
    fitted, part = prior.calibrations[name], {"training": 1.0, "tempered": 0.5, "balanced": 0.0}[name]
    bias = np.array(prior.bias)
    rule = answer_rule(REF, KNOWN, AnswerOptions(name))
    assert rule.probabilities(LOGITS) == pytest.approx(softmax((LOGITS - bias) / fitted.temperature + part * bias))
    assert rule.review == fitted.review


def test_given_shares_are_the_prior() -> None:
    shares = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
    rule = answer_rule(REF, KNOWN, AnswerOptions(",".join(map(str, shares))))
    bias = np.array(class_prior().bias)
    assert rule.probabilities(LOGITS) == pytest.approx(softmax((LOGITS - bias) / rule.temperature + np.log(shares)))
    none = answer_rule(REF, KNOWN, AnswerOptions("1,0,0,0,0,0,0,0")).probabilities(LOGITS)
    assert np.isfinite(none).all()
    assert (none > 0).all()


def test_the_usual_prior() -> None:
    assert usual_prior(KNOWN) == "tempered"
    assert usual_prior(small_spec()) == "training"
    told = answer_rule(REF, KNOWN).probabilities(LOGITS)
    assert np.array_equal(told, answer_rule(REF, KNOWN, AnswerOptions("tempered")).probabilities(LOGITS))


def test_a_precision_sets_limits_by_expression() -> None:
    rule = answer_rule(REF, KNOWN, AnswerOptions("tempered", 0.8))
    told = rule.predictions(LOGITS)
    limits = class_prior().calibrations["tempered"].precision.limits(0.8)
    doubtful = told.probabilities.max(axis=1) < limits[told.expression]
    assert told.novelty is not None
    assert np.array_equal(told.needs_review, doubtful | (told.novelty > 0.95))
    assert 0 < told.needs_review.sum() < len(LOGITS)


def test_novelty_falls_with_the_largest_cosine() -> None:
    told = answer_rule(REF, KNOWN).predictions(LOGITS)
    assert told.novelty is not None
    order = np.argsort(LOGITS.max(axis=1))  # this network has no class bias of its own: its logits are cosines
    assert (np.diff(told.novelty[order]) <= 0).all()
    quiet = answer_rule(REF, replace(small_spec(), prior=class_prior(novelty=False))).predictions(LOGITS)
    assert quiet.novelty is None


class TestEarlierModels:
    """They know no class bias."""

    def test_answers_are_those_of_the_earlier_release(self) -> None:
        spec = small_spec()
        told = answer_rule(REF, spec).predictions(LOGITS)
        assert np.array_equal(answer_rule(REF, spec).probabilities(LOGITS), softmax(LOGITS / spec.temperature))
        assert told.novelty is None
        assert np.array_equal(told.needs_review, spec.review.applies(told.confidence.astype(float), told.entropy.astype(float)))

    def test_other_priors_divide_by_the_shares_of_the_card(self) -> None:
        shares = np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])
        counts = {name: round(1000 * share) for name, share in zip(EXPRESSIONS, shares, strict=True)}
        ref = replace(REF, card={"trained_on": [{"per_class": {"train": counts}}]})
        spec = small_spec()
        balanced = answer_rule(ref, spec, AnswerOptions("balanced")).probabilities(LOGITS)
        assert balanced == pytest.approx(softmax((LOGITS - np.log(shares)) / spec.temperature), abs=1e-5)
        key = prior_key(ref, "balanced")
        assert key.startswith("balanced for 0.300000,0.200000,")
        assert np.array_equal(answer_rule(ref, spec, AnswerOptions(key)).probabilities(LOGITS), balanced)
        assert prior_key(ref, "training") == "training"

    def test_a_card_without_shares_is_refused(self) -> None:
        with pytest.raises(ModelError, match="use --prior training"):
            answer_rule(REF, small_spec(), AnswerOptions("balanced"))

    def test_a_precision_is_refused(self) -> None:
        with pytest.raises(ModelError, match="no precision curve"):
            answer_rule(REF, small_spec(), AnswerOptions(None, 0.9))


def test_models_on_disk(tmp_path: Path) -> None:
    """The prior is stored in the weights file; a file without one is described as before."""
    known, earlier = small_model_with_prior(tmp_path / "known"), small_model(tmp_path / "earlier")
    assert read_weights(known)[1].prior == class_prior()
    assert usual_prior_of(known) == "tempered"
    assert prior_key(known, "balanced") == "balanced"
    assert "prior" not in earlier.card["spec"]
    assert usual_prior_of(earlier) == "training"
    crops = faces(6, colour=True)
    same = Predictor(known, "cpu", AnswerOptions("training")).logits(crops)
    assert np.array_equal(Predictor(earlier, "cpu").logits(crops), same)
    assert Predictor(known, "cpu").predict(crops).novelty is not None


def test_a_damaged_prior_is_refused(tmp_path: Path) -> None:
    ref = small_model_with_prior(tmp_path / "model")
    file = ref.path / "weights.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    spec = json.loads(header["__metadata__"]["spec"])
    spec["prior"]["calibrations"]["tempered"]["temperature"] = None
    header["__metadata__"]["spec"] = json.dumps(spec)
    changed = json.dumps(header).encode()
    file.write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + length :])
    from fer_core.hashing import file_sha256

    with pytest.raises(ModelError, match="do not fit their own description"):
        read_weights(replace(ref, digest=file_sha256(file)))


@pytest.mark.parametrize("text", ["even", "1,2", "0,0,0,0,0,0,0,0"])
def test_what_is_no_prior(text: str) -> None:
    with pytest.raises(UsageError):
        answer_rule(REF, KNOWN, AnswerOptions(text))
