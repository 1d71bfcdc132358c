"""What is fitted for answers under other priors than that of training."""

import numpy as np
import pytest

from fer_core.faceset import FaceSplit
from fer_core.labels import EXPRESSIONS
from fer_core.models.calibration import expected_calibration_error, softmax
from fer_core.models.prior import PRIORS
from fer_core.training.class_prior_fit import Cosines, DevSet, Domain, HeldBack, calibration_told, domain_errors, fit_class_prior

SHARES = np.array([0.4, 0.25, 0.1, 0.1, 0.08, 0.03, 0.03, 0.01])
BIAS = np.log(SHARES)
SCALE = 8.0


def domain(name: str, seed: int, heat: float = 1.0, count: int = 6000, shares: np.ndarray = SHARES) -> Domain:
    """Evidence is heat times what it should be: the temperature that undoes it is the heat."""
    random = np.random.default_rng(seed)
    classes = random.choice(8, count, p=shares)
    evidence = random.normal(0, 1, (count, 8)) + 2.0 * np.eye(8)[classes]
    # the log odds of two unit normals 2 apart
    return Domain(name, heat * 2.0 * evidence + BIAS, classes.astype(np.int64), np.ones(count, np.bool_))


@pytest.mark.parametrize("heat", [0.6, 1.0, 1.7])
def test_the_temperature_of_training_undoes_the_heat(heat: float) -> None:
    prior = fit_class_prior(HeldBack(domain("own", 0, heat), (), ()), BIAS, None)
    assert prior.calibrations["training"].temperature == pytest.approx(heat, rel=0.05)
    assert domain_errors(HeldBack(domain("own", 0, heat), (), ()), prior, "training")["own"] < 0.02
    assert prior.novelty is None


def test_other_temperatures_lie_between_the_domains() -> None:
    """Mean calibration error over domains: of a calm and a heated one, neither decides alone."""
    own, hot = domain("own", 0), domain("hot", 1, 2.0)
    both = fit_class_prior(HeldBack(own, (hot,), ()), BIAS, None).calibrations["balanced"].temperature
    alone = fit_class_prior(HeldBack(own, (), ()), BIAS, None).calibrations["balanced"].temperature
    assert alone == pytest.approx(1, abs=0.15)
    assert alone < both < 2.1


def test_only_the_prior_of_training_leaves_out_faces_that_raters_disagree_on() -> None:
    """A third of the faces have a label at random."""
    sure, random = domain("own", 0), np.random.default_rng(5)
    doubtful = random.random(len(sure.classes)) < 1 / 3
    own = Domain("own", sure.logits, np.where(doubtful, random.choice(8, len(doubtful)), sure.classes), ~doubtful)
    some, every = (fit_class_prior(HeldBack(one, (), ()), BIAS, None) for one in (own.majority(), own))
    assert some.calibrations["training"] == every.calibrations["training"]
    assert domain_errors(HeldBack(own, (), ()), some, "tempered")["own"] > 0.12
    assert every.calibrations["tempered"].temperature > 1.5 * some.calibrations["tempered"].temperature
    assert domain_errors(HeldBack(own, (), ()), every, "tempered")["own"] < 0.08
    assert calibration_told(HeldBack(own, (), ()), every)["calibration"]["protocols"]["tempered"] == "argmax"


def test_a_domain_without_any_majority_is_no_error() -> None:
    own, other = domain("own", 0), domain("other", 1, count=50)
    doubtful = Domain("doubtful", other.logits, other.classes, np.zeros(50, np.bool_))
    held_back = HeldBack(own, (doubtful,), (doubtful,))
    prior = fit_class_prior(held_back, BIAS, None)
    assert set(domain_errors(held_back, prior, "training")) == {"own"}
    assert set(domain_errors(held_back, prior, "tempered")) == {"own", "doubtful", "corrupted"}


def test_faces_without_a_majority_are_kept_apart() -> None:
    """Five raters each: agreed, three against two, two against two and one, nobody names an expression."""
    votes = np.zeros((4, 10), np.float32)
    votes[0, 3], votes[1, [0, 4]], votes[2, [5, 6, 7]], votes[3, 9] = 5, (2, 3), (2, 2, 1), 5
    names = tuple("abcd")
    faces = FaceSplit(names, names, np.zeros((4, 112, 112), np.uint8), votes, "votes", EXPRESSIONS)
    made = DevSet.of("own", faces)
    assert made.classes.tolist() == [3, 4, 5]
    assert made.agreed.tolist() == [True, True, False]
    assert made.majority().classes.tolist() == [3, 4]


def test_under_balanced_a_balanced_collection_is_calibrated() -> None:
    prior = fit_class_prior(HeldBack(domain("own", 0), (), ()), BIAS, None)
    even = domain("even", 2, shares=np.full(8, 1 / 8))
    temperature = prior.calibrations["balanced"].temperature
    assert expected_calibration_error(softmax((even.logits - BIAS) / temperature), even.classes) < 0.03
    assert expected_calibration_error(softmax(even.logits), even.classes) > 0.05


def test_precision_holds_on_other_faces() -> None:
    prior = fit_class_prior(HeldBack(domain("own", 0), (), ()), BIAS, None)
    fitted, other = prior.calibrations["training"], domain("other", 3)
    probabilities = softmax((other.logits - BIAS) / fitted.temperature + BIAS)
    said = probabilities.argmax(axis=1)
    kept = probabilities.max(axis=1) >= fitted.precision.limits(0.9)[said]
    assert 0.4 < kept.mean() < 1
    assert (said == other.classes)[kept].mean() > 0.88


def test_faces_of_small_cosines_are_novel() -> None:
    own = domain("own", 0)
    spoilt = Domain("blur 5", np.random.default_rng(4).normal(0, 0.3, (500, 8)) + BIAS, own.classes[:500], own.agreed[:500])
    prior = fit_class_prior(HeldBack(own, (), (spoilt,)), BIAS, Cosines(SCALE, BIAS))
    assert prior.novelty is not None
    assert prior.novelty.limit < 1
    assert prior.novelty.novelty(spoilt.logits).mean() > 0.95 > 0.55 > prior.novelty.novelty(own.logits).mean()
    assert set(domain_errors(HeldBack(own, (), (spoilt,)), prior, "tempered")) == {"own", "corrupted"}
    assert set(prior.calibrations) == set(PRIORS)


def test_few_faces_and_absent_classes_are_no_error() -> None:
    few = Domain("few", np.zeros((3, 8)) + BIAS, np.array([0, 1, 1]), np.ones(3, np.bool_))
    prior = fit_class_prior(HeldBack(few, (), ()), BIAS, Cosines(SCALE, BIAS))
    assert all(0.04 < one.temperature < 21 for one in prior.calibrations.values())
