"""The quality rule marks faces that show too little: each limit alone, and nothing else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.quality_thresholds import QualityRule
from fer_core.run.configuration import RunConfig
from fer_core.types import Quality
from tests.support import fakes

RULE = QualityRule()


def look(face_size_px=80.0, sharpness=0.7, exposure=0.95, yaw_deg=0.0, pitch_deg=0.0, roll_deg=0.0):
    return Quality(*(np.array([value], np.float32) for value in (face_size_px, sharpness, exposure, yaw_deg, pitch_deg, roll_deg)))


def test_an_ordinary_face_is_not_marked_however_it_leans():
    for lean in (-180, -90, 45, 170):
        assert RULE.flags(look(roll_deg=lean, pitch_deg=-60)).tolist() == [False]


@pytest.mark.parametrize("limit", [{"face_size_px": 18}, {"sharpness": 0.3}, {"exposure": 0.6}, {"yaw_deg": 60}, {"yaw_deg": -60}])
def test_each_limit_marks_alone_and_the_limit_itself_is_good(limit):
    ((name, value),) = limit.items()
    worse = np.nextafter(np.float32(value), np.float32(2 * value if name == "yaw_deg" else 0))
    assert RULE.flags(look(**limit)).tolist() == [False]
    assert RULE.flags(look(**{name: worse})).tolist() == [True]
    assert RULE.flags(look(**{name: np.nan})).tolist() == [True]


def test_no_faces_have_no_marks():
    none = np.zeros(0, np.float32)
    marks = RULE.flags(Quality(none, none, none, none, none, none))
    assert (marks.shape, marks.dtype) == ((0,), np.bool_)


values = st.lists(
    st.tuples(st.floats(1, 500), st.floats(0, 1), st.floats(0, 1), st.floats(-90, 90), st.floats(-90, 90), st.floats(-180, 180)),
    min_size=1,
    max_size=8,
)


@given(values, st.floats(1, 100), st.floats(0, 1), st.floats(0, 1), st.floats(0, 90))
def test_a_stricter_rule_marks_no_fewer_and_faces_are_judged_alone(rows, size, sharpness, exposure, yaw):
    quality = Quality(*np.array(rows, np.float32).T)
    rule = QualityRule(size, sharpness, exposure, yaw)
    marks = rule.flags(quality)
    for index, row in enumerate(rows):
        assert rule.flags(Quality(*np.array([row], np.float32).T))[0] == marks[index]
    for stricter in (
        replace(rule, face_size_px=size * 2),
        replace(rule, sharpness=sharpness + 0.1),
        replace(rule, exposure=exposure + 0.1),
        replace(rule, yaw_deg=yaw / 2),
    ):
        assert (stricter.flags(quality) >= marks).all()
    assert not QualityRule(0, 0, 0, 180).flags(quality).any()


@pytest.mark.parametrize("wrong", [{"face_size_px": -1}, {"sharpness": np.nan}, {"yaw_deg": np.inf}])
def test_a_limit_is_a_number(wrong):
    with pytest.raises(ValueError, match="limits"):
        QualityRule(**wrong)


def test_the_rule_is_part_of_the_pipeline_and_travels_as_json():
    run = fakes.config("/labels")
    others = [
        replace(run, quality_rule=replace(RULE, **{name: getattr(RULE, name) + 0.01}))
        for name in ("face_size_px", "sharpness", "exposure", "yaw_deg")
    ]
    assert len({run.pipeline_digest, *(other.pipeline_digest for other in others)}) == 5
    for config in (run, *others):
        back = RunConfig.from_json(json.loads(json.dumps(config.to_json())))
        assert back == config
        assert back.pipeline_digest == config.pipeline_digest


def test_a_configuration_from_before_there_was_a_rule_is_read():
    value = fakes.config("/labels").to_json()
    del value["quality_rule"]
    assert RunConfig.from_json(value) == fakes.config("/labels")
