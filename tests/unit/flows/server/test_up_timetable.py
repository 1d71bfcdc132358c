"""Decisions of `ferflow up`, and that deployments/prefect.yaml says the same."""

from pathlib import Path

import pytest
import yaml

from flows.label_params import LabelParams
from flows.retrain_params import RetrainParams
from flows.server.deployments import TIMETABLE, ServeOptions, complete, form_values
from flows.server.serve import ATTEMPTS, Interrupted, recovery_state

EVERYTHING = ServeOptions("/photos", "/labels", "/models", "UTC")
FILE = Path(__file__).resolve().parents[4] / "deployments" / "prefect.yaml"


@pytest.mark.parametrize("entry", TIMETABLE, ids=lambda entry: f"{entry.flow.name}/{entry.name}")
def test_with_every_option_every_form_is_complete(entry):
    assert complete(entry.form, form_values(entry, EVERYTHING))


@pytest.mark.parametrize("entry", TIMETABLE, ids=lambda entry: f"{entry.flow.name}/{entry.name}")
def test_without_options_forms_stay_as_they_are(entry):
    assert form_values(entry, ServeOptions(None, None, None, "UTC")) == {}


def test_no_schedule_before_a_form_is_complete():
    assert not complete(LabelParams, {"source": "/photos"})
    assert not complete(RetrainParams, {"models": "/models"})


def test_an_interrupted_run_is_gone_on_with_but_not_for_ever():
    states = [recovery_state(Interrupted(attempts, cancelling=False)).name for attempts in range(ATTEMPTS + 2)]
    assert states == ["AwaitingRetry"] * ATTEMPTS + ["Crashed"] * 2
    assert recovery_state(Interrupted(1, cancelling=True)).name == "Cancelled"


def test_the_file_for_work_pools_says_the_same():
    given = {}
    for deployment in yaml.safe_load(FILE.read_text("utf-8"))["deployments"]:
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
        assert deployment["work_pool"]["job_variables"]["env"]["DO_NOT_TRACK"] == "1"
        schedules = deployment.get("schedules", [])
        assert all(schedule["timezone"] and schedule["slug"] == deployment["name"] for schedule in schedules)
        crons = [schedule["cron"] for schedule in schedules]
        writes = deployment["work_pool"].get("work_queue_name") == "writers"
        given[deployment["entrypoint"]] = (deployment["name"], crons, writes, deployment["tags"])
    ours = {
        f"{entry.flow.fn.__module__}.{entry.flow.fn.__name__}": (
            entry.name,
            [entry.cron] if entry.cron else [],
            entry.writes,
            list(entry.tags),
        )
        for entry in TIMETABLE
    }
    assert given == ours


@pytest.mark.parametrize("entry", TIMETABLE, ids=lambda entry: f"{entry.flow.name}/{entry.name}")
def test_its_parameters_are_possible(entry):
    deployments = yaml.safe_load(FILE.read_text("utf-8"))["deployments"]
    found = [one for one in deployments if one["entrypoint"] == f"{entry.flow.fn.__module__}.{entry.flow.fn.__name__}"]
    assert complete(entry.form, found[0]["parameters"]["params"])
