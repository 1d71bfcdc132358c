"""What the orchestrator knows about a run, read where it keeps that: an API of its own for the question costs as much as a run."""

import json
import re
import sqlite3
from contextlib import closing

import pytest

QUESTIONS = {
    "runs": ("SELECT flow_run.id, flow.name, flow_run.name, state_name FROM flow_run JOIN flow ON flow.id = flow_id", "id flow name state"),
    "tasks": ("SELECT flow_run_id, name, state_name, start_time FROM task_run", "run name state at"),
    "logs": ("SELECT flow_run_id, message FROM log WHERE task_run_id IS NOT NULL ORDER BY timestamp", "run message"),
    "artifacts": ("SELECT flow_run_id, key, type, data FROM artifact", "run key type data"),
}


@pytest.fixture(scope="module")
def known(labelled):
    """Flow runs, task runs and artifacts in the database of the labelled home."""
    assert labelled.ended.code == 0, labelled.ended.err
    with closing(sqlite3.connect(labelled.commands.home / ".prefect" / "prefect.db")) as database:
        found = {
            what: [dict(zip(names.split(), row, strict=True)) for row in database.execute(sql)] for what, (sql, names) in QUESTIONS.items()
        }
    for task in found["tasks"]:
        task["name"] = task["name"].rpartition("-")[0]
    for artifact in found["artifacts"]:
        artifact["data"] = json.loads(str(artifact["data"]))  # a number is none of its text
    return found


def test_the_run_is_one_flow_of_five_tasks(known):
    run = next(run for run in known["runs"] if run["name"] == "first")
    assert (run["flow"], run["state"]) == ("label-collection", "Completed")
    tasks = sorted((task for task in known["tasks"] if task["run"] == run["id"]), key=lambda task: task["at"])
    assert [task["name"] for task in tasks] == ["inventory", "plan", "label-shards", "commit", "report"]
    assert {task["state"] for task in tasks} == {"Completed"}


def test_each_task_logs_what_it_found(known):
    """Regression: the log of a run in the orchestrator named its tasks and nothing that they found."""
    run = next(run for run in known["runs"] if run["name"] == "first")
    lines = [
        entry["message"] for entry in known["logs"] if entry["run"] == run["id"] and not entry["message"].startswith("Finished in state")
    ]
    listed, planned, start, *progress, committed, report = lines
    assert listed == "listed 2 images, excluded 0 folders"
    assert planned == "planned run first: 2 listed, 0 unchanged, 2 new in 2 shards, 0 deleted, 0 folders excluded"
    assert start == "to label: 2 images in 2 shards, 0 are staged already"
    assert [line.partition(",")[0] for line in progress] == ["labelled images: 1 of 2 (50 %)", "labelled images: 2 of 2 (100 %)"]
    assert re.fullmatch(r"committed run first: 2 rows in images, 7 rows in labels; 2 files, 0\.\d MB", committed)
    assert report == "2 images processed, 7 faces labelled, 0 images unchanged"


def test_progress_and_summary_are_artifacts(known, labelled):
    run = next(run for run in known["runs"] if run["name"] == "first")
    artifacts = {found["key"]: found for found in known["artifacts"] if found["run"] == run["id"]}
    assert float(artifacts["label-progress"]["data"]) == 100.0
    assert artifacts["label-progress"]["type"] == "progress"
    text = artifacts["label-summary"]["data"]
    assert "| labeled | 2 | 100.0 % |" in text
    assert "| faces | | share |" in text
    assert "| detect |" in text
    assert labelled.ended.json["manifest"] in text


def test_nothing_is_pickled_into_the_home(labelled):
    """Prefect keeps why a run failed: a sentence, as JSON."""
    files = [path for path in labelled.commands.home.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix in {".pkl", ".pickle"}]
    for path in files:
        if "storage" in path.parts:
            assert set(json.loads(path.read_text("utf-8"))) == {"__exc_type__", "message"}
