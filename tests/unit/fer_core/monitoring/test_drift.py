"""The stability index and the verdicts: pure decisions."""

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fer_core.monitoring.drift import (
    DRIFT,
    EDGES,
    ENOUGH,
    MEASURES,
    WATCH,
    Limits,
    Profile,
    bin_names,
    compare_profiles,
    drifted,
    expected_psi,
    histogram,
    psi,
)

COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=12).filter(any)


@st.composite
def two_counts(draw):
    size = draw(st.integers(2, 12))
    one, two = (draw(st.lists(st.integers(0, 10_000), min_size=size, max_size=size).filter(any)) for _ in range(2))
    return one, two


@settings(deadline=None)
@given(two_counts())
def test_never_negative_symmetric_and_finite(pair):
    one, two = pair
    found = psi(one, two)
    assert 0 <= found < np.log(100 * len(one)) * 2  # with a hundredth spread evenly no ratio is larger than that
    assert found == pytest.approx(psi(two, one), abs=1e-12)


@settings(deadline=None)
@given(COUNTS, st.integers(1, 1000))
def test_equal_shares_are_0_whatever_the_number(counts, times):
    assert psi(counts, [count * times for count in counts]) == pytest.approx(0, abs=1e-12)


@settings(deadline=None)
@given(two_counts())
def test_0_only_for_equal_shares(pair):
    one, two = (np.array(counts) / sum(counts) for counts in pair)
    assume(np.abs(one - two).max() > 1e-3)
    assert psi(*pair) > 1e-8


@settings(deadline=None)
@given(two_counts(), st.randoms(use_true_random=False))
def test_the_order_of_bins_does_not_matter(pair, random):
    order = random.sample(range(len(pair[0])), len(pair[0]))
    one, two = ([counts[at] for at in order] for counts in pair)
    assert psi(one, two) == pytest.approx(psi(*pair), abs=1e-9)


def test_the_formula_by_hand():
    p, q = (0.99 * 0.5 + 0.005, 0.99 * 0.9 + 0.005)
    expected = 2 * (p - q) * (np.log(p / q) - np.log((1 - p) / (1 - q))) / 2
    assert psi([50, 50], [90, 10]) == pytest.approx(expected)
    assert expected > DRIFT


@pytest.mark.parametrize("bad", [([0, 0], [1, 1]), ([1, 1], [0, 0]), ([1, 2], [1, 2, 3]), ([-1, 2], [1, 1])])
def test_what_has_no_shares_has_no_index(bad):
    with pytest.raises(ValueError, match=r"counts|bins"):
        psi(*bad)


def sample(seed, faces, shares=(0.5, 0.3, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01), size=90.0, no_face=0.1):
    """The profile of so many faces drawn from one world, and as many images."""
    rng = np.random.default_rng(seed)
    values = {
        "confidence": rng.beta(5, 2, faces),
        "face_size_px": size * np.exp(0.5 * rng.standard_normal(faces)),
        "sharpness": rng.beta(4, 2, faces),
        "yaw_deg": 20 * rng.standard_normal(faces),
        "pitch_deg": 10 * rng.standard_normal(faces),
        "detection_score": rng.beta(8, 2, faces),
    }
    marked, empty = rng.binomial(faces, 0.1), rng.binomial(faces, no_face)
    counts = {name: tuple(histogram(name, found).tolist()) for name, found in values.items()}
    counts |= {
        "expression": tuple(rng.multinomial(faces, shares).tolist()),
        "needs_review": (faces - marked, marked),
        "no_face": (faces - empty, empty),
    }
    return Profile(counts, {name: float(found.sum()) for name, found in values.items()})


REFERENCE = sample(0, 20_000)


def test_chance_is_what_samples_differ_by_on_average():
    rng, shares = np.random.default_rng(0), [0.4, 0.3, 0.1, 0.1, 0.05, 0.05]
    found = [psi(rng.multinomial(300, shares), rng.multinomial(500, shares)) for _ in range(400)]
    assert np.mean(found) == pytest.approx(expected_psi(6, 300, 500), rel=0.1)


@pytest.mark.parametrize("seed", range(1, 21))
def test_two_small_samples_of_one_world_have_not_drifted_either(seed):
    assert drifted(compare_profiles(sample(seed, ENOUGH), sample(seed + 100, ENOUGH))) == ()


@pytest.mark.parametrize("seed", range(1, 21))
def test_another_sample_of_the_same_world_has_not_drifted(seed):
    findings = compare_profiles(REFERENCE, sample(seed, ENOUGH))
    assert [finding.measure for finding in findings] == list(MEASURES)
    assert drifted(findings) == ()
    assert all(finding.psi < WATCH for finding in compare_profiles(REFERENCE, sample(seed, 10 * ENOUGH)))


@pytest.mark.parametrize(
    ("shifted", "measures"),
    [
        ({"shares": (0.2, 0.2, 0.1, 0.2, 0.15, 0.05, 0.05, 0.05)}, ("expression",)),
        ({"size": 45.0}, ("face_size_px",)),
        ({"no_face": 0.4}, ("no_face",)),
    ],
)
def test_what_has_shifted_is_named_and_nothing_else(shifted, measures):
    assert drifted(compare_profiles(REFERENCE, sample(1, 1000, **shifted))) == measures


def test_small_runs_are_told_and_not_judged():
    findings = compare_profiles(REFERENCE, sample(1, ENOUGH - 1, size=10.0))
    assert {finding.verdict for finding in findings} == {"too few"}
    assert max(finding.psi for finding in findings) > DRIFT
    assert drifted(findings) == ()
    assert drifted(compare_profiles(REFERENCE, sample(1, ENOUGH - 1, size=10.0), Limits(enough=50))) == ("face_size_px",)


def test_nothing_is_compared_with_nothing():
    findings = compare_profiles(REFERENCE, Profile.empty())
    assert {(finding.psi, finding.verdict, finding.now) for finding in findings} == {(None, "too few", None)}


def test_verdicts_begin_at_their_limits():
    found = next(finding for finding in compare_profiles(REFERENCE, sample(1, 1000, size=75.0)) if finding.measure == "face_size_px")
    beyond = found.psi - found.by_chance
    for limits, verdict in (
        (Limits(beyond, beyond), "drift"),
        (Limits(beyond, beyond * 2), "watch"),
        (Limits(beyond * 1.01, beyond * 2), "stable"),
    ):
        again = compare_profiles(REFERENCE, sample(1, 1000, size=75.0), limits)
        assert next(finding.verdict for finding in again if finding.measure == "face_size_px") == verdict


@pytest.mark.parametrize("bad", [(0, 0.2, 1), (0.3, 0.2, 1), (0.1, 0.2, 0), (0.1, float("inf"), 1), (float("nan"), 0.2, 1)])
def test_limits_that_make_no_sense(bad):
    with pytest.raises(ValueError, match="limits"):
        Limits(*bad)


@pytest.mark.parametrize("measure", list(EDGES))
def test_every_value_falls_into_one_bin(measure):
    edges = np.array(EDGES[measure])
    values = np.concatenate([edges, edges - 1e-3, [edges[0] - 1, edges[-1] + 1, np.nan, np.inf]]).astype(np.float32)
    counts = histogram(measure, values)
    assert len(counts) == len(bin_names(measure)) == len(edges) + 1
    assert counts.sum() == 2 * len(edges) + 2
    assert histogram(measure, edges.astype(np.float32))[0] == 0  # an edge belongs to what is above it


def test_profiles_add_up_and_survive_json():
    one, two = sample(1, 300), sample(2, 500)
    both = one + two
    assert both.faces == 800
    assert both.mean("confidence") == pytest.approx((one.sums["confidence"] + two.sums["confidence"]) / 800)
    assert both.mean("no_face") == pytest.approx((one.counts["no_face"][1] + two.counts["no_face"][1]) / 800)
    assert both.mean("expression") is None
    assert Profile.empty() + one == one
    assert Profile.from_json(json.loads(json.dumps(both.to_json()))) == both


def test_a_profile_in_other_bins_is_refused():
    value = json.loads(json.dumps(sample(1, 300).to_json()))
    value["yaw_deg"]["bins"][0] = "below -90"
    with pytest.raises(ValueError, match="other bins"):
        Profile.from_json(value)
