"""What the pipeline digest says, and that runs of earlier releases keep theirs."""

from dataclasses import replace

import pytest

from fer_core.run.configuration import LUMA, TURNED, Answering, Decoding, RunConfig

CONFIG = RunConfig("a", "2026-01-01", "/s", "/r", "builtin", "builtin-1", "tiny", "tiny", "0" * 64)
EARLIER = "7712b5b0ff25c357311c60f1bac0c8d9d4992e93e55d22f9643202a6c1244156"
"""Of CONFIG, in the release that knew neither prior nor precision."""


def test_what_earlier_releases_wrote_stays():
    assert CONFIG.pipeline_digest == EARLIER
    assert RunConfig.from_json({k: v for k, v in CONFIG.to_json().items() if k not in {"prior", "precision"}}) == CONFIG


def test_the_smallest_face_is_part_of_it_but_that_of_earlier_releases_stays_as_it_was():
    asked = [replace(CONFIG, min_face=text) for text in ("1%", "2%", "16", "20")]
    assert len({config.pipeline_digest for config in (CONFIG, *asked)}) == 5
    assert replace(CONFIG, min_face_px=99.0).pipeline_digest != EARLIER
    for config in asked:
        assert RunConfig.from_json(config.to_json()) == config
        assert replace(config, min_face_px=99.0).pipeline_digest == config.pipeline_digest
    # each manifest names the one rule that its run has
    assert {name: value for name, value in CONFIG.to_json().items() if name.startswith("min_face")} == {"min_face_px": 16.0}
    assert {name: value for name, value in asked[0].to_json().items() if name.startswith("min_face")} == {"min_face": "1%"}


def test_how_finely_a_run_searches_is_part_of_it():
    before = replace(CONFIG, min_face="20")
    now = replace(before, finest_px=18.0)
    assert now.pipeline_digest != before.pipeline_digest
    assert RunConfig.from_json(now.to_json()) == now
    assert "finest_px" not in before.to_json()
    for wrong in (0.0, float("nan"), 1e9):
        with pytest.raises((ValueError, TypeError)):
            RunConfig.from_json({**now.to_json(), "finest_px": wrong})


def test_limits_and_decoders_are_no_part_of_it():
    other = replace(CONFIG, max_bytes=1, max_pixels=5, decoders="2 raw")
    assert other.pipeline_digest == EARLIER
    assert RunConfig.from_json(other.to_json()) == other
    assert RunConfig.from_json({k: v for k, v in other.to_json().items() if k != "decoders"}).decoding == Decoding("1", 1, 5)
    for text in ("", "0", "x", "2  raw", "2 raw\n", "2 ../raw"):
        with pytest.raises(ValueError, match="decoders"):
            RunConfig.from_json({**CONFIG.to_json(), "decoders": text})


@pytest.mark.parametrize(
    ("now", "before", "more"),
    [
        ("1", "1", False),
        ("2", "1", True),
        ("1", "2", False),
        ("10", "9 jxl raw", True),
        ("2 raw", "2", True),
        ("2", "2 raw", False),
        ("2 jxl", "2 raw", True),
        ("2 jxl raw", "2 raw jxl", False),
    ],
)
def test_which_decoders_read_more(now, before, more):
    assert Decoding(now).decodes_more(Decoding(before)) == more


def test_what_a_manifest_says_of_decoding():
    assert Decoding.of({"max_bytes": 7, "decoders": "2 raw", "source": "/s"}) == Decoding("2 raw", 7)
    assert Decoding.of({}) == Decoding.of({"decoders": 3, "max_bytes": "x"}) == Decoding.of({"decoders": "?"}) == Decoding()


def test_turning_pictures_is_part_of_it_but_runs_that_did_not_stay_as_they_were():
    turned = replace(CONFIG, turned=TURNED)
    assert turned.pipeline_digest != EARLIER
    assert RunConfig.from_json(turned.to_json()) == turned
    assert RunConfig.from_json({k: v for k, v in CONFIG.to_json().items() if k != "turned"}) == CONFIG
    with pytest.raises(ValueError, match="turned"):
        RunConfig.from_json({**CONFIG.to_json(), "turned": "quarters-v0"})


def test_what_a_second_decode_gives_is_part_of_it_but_earlier_runs_stay_as_they_were():
    luma = replace(CONFIG, second_decode=LUMA)
    assert luma.pipeline_digest != EARLIER
    assert RunConfig.from_json(luma.to_json()) == luma
    assert RunConfig.from_json({k: v for k, v in CONFIG.to_json().items() if k != "second_decode"}) == CONFIG
    with pytest.raises(ValueError, match="decoded again"):
        RunConfig.from_json({**CONFIG.to_json(), "second_decode": "luma-v0"})


@pytest.mark.parametrize("text", ["5", "0%", "101%", "abc", "1.0%", "", "nan"])
def test_what_is_no_smallest_face_is_refused(text):
    with pytest.raises(ValueError, match="smallest face"):
        RunConfig.from_json({**CONFIG.to_json(), "min_face": text})


def test_prior_and_precision_are_part_of_it():
    changed = [replace(CONFIG, prior="balanced"), replace(CONFIG, prior="tempered"), replace(CONFIG, precision=0.9)]
    assert len({config.pipeline_digest for config in (CONFIG, *changed)}) == 4
    for config in changed:
        assert RunConfig.from_json(config.to_json()) == config
        assert CONFIG.answered_by(config.answering) == config


@pytest.mark.parametrize("change", [{"prior": 3}, {"precision": "x"}, {"precision": float("nan")}, {"min_face": 20}])
def test_other_kinds_are_refused(change):
    with pytest.raises(TypeError):
        RunConfig.from_json({**CONFIG.to_json(), **change})


def test_an_answering_replaces_nothing_else():
    other = CONFIG.answered_by(Answering("1" * 64, "balanced", 0.8))
    assert other.detector_identity == CONFIG.detector_identity
    assert (other.model_digest, other.prior, other.precision) == ("1" * 64, "balanced", 0.8)
