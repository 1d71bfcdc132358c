"""What the orchestrator knows about a run, asked through its API."""

import json
import subprocess
import sys

import pytest

LOOK = """
import json
from flows.prefect_api import prefect_api
from flows.session import session

with session(), prefect_api() as api, api.ready():
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flows = {flow.id: flow.name for flow in client.read_flows()}
        runs = [
            {"id": str(run.id), "flow": flows[run.flow_id], "name": run.name, "state": run.state_name}
            for run in client.read_flow_runs()
        ]
        tasks = [
            {"run": str(run.flow_run_id), "name": run.name.rpartition("-")[0], "state": run.state_name, "at": str(run.start_time)}
            for run in client.read_task_runs()
        ]
        artifacts = [
            {"run": str(found.flow_run_id), "key": found.key, "type": found.type, "data": found.data} for found in client.read_artifacts()
        ]
print(json.dumps({"runs": runs, "tasks": tasks, "artifacts": artifacts}, default=str))
"""


@pytest.fixture(scope="module")
def known(labelled):
    """Flow runs, task runs and artifacts in the database of the labelled home."""
    assert labelled.ended.code == 0, labelled.ended.err
    environment = labelled.commands.environment()
    ended = subprocess.run([sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_run_is_one_flow_of_five_tasks(known):
    run = next(run for run in known["runs"] if run["name"] == "first")
    assert (run["flow"], run["state"]) == ("label-collection", "Completed")
    tasks = sorted((task for task in known["tasks"] if task["run"] == run["id"]), key=lambda task: task["at"])
    assert [task["name"] for task in tasks] == ["inventory", "plan", "label-shards", "commit", "report"]
    assert {task["state"] for task in tasks} == {"Completed"}


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
