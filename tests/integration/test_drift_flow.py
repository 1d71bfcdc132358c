"""The flow `report` on a real server: the event, the variables, and the automation that starts a retraining.

Other tests share the server: what would change their reports is taken away at the end, and only what is of this root is counted.
"""

import json
import subprocess
import sys

import pytest

from tests.support.drifting import night

SCRIPT = """
import json, sys, time
from flows.server.prefect_api import flush, prefect_api
from flows.server.session import session

root, file = sys.argv[1:]

with session(), prefect_api() as api, api.ready():
    from prefect.client.orchestration import get_client
    from prefect.events.filters import EventFilter, EventNameFilter
    from prefect.variables import Variable

    from flows.server.drift_automation import NAME, install
    from flows.report import ReportParams, report
    from fer_core.errors import FerflowError

    with get_client(sync_client=True) as client:
        try:
            install("retrain/weekly")
        except FerflowError as error:
            refused = str(error)
        deployment = client.create_deployment(client.create_flow_from_name("retrain"), name="weekly")
        install("retrain/weekly", root)
        install("retrain/weekly", root)
        installed = client.read_automations_by_name(NAME)

        Variable.set("fer_drift_limit", 50.0)
        calm = report(ReportParams(root=root, to=file))
        Variable.set("fer_drift_limit", "0.3", overwrite=True)
        told = report(ReportParams(root=root, to=file))
        again = report(ReportParams(root=root, to=file))
        Variable.set("fer_drift_faces", "many")
        try:
            report(ReportParams(root=root, to=file))
        except FerflowError as error:
            wrong = str(error)
        flush()

        deadline = time.monotonic() + 240
        while True:
            events = client.read_events(EventFilter(event=EventNameFilter(name=["fer.drift.detected"])), limit=10).events
            events = [found for found in events if found.resource.id.endswith(root)]
            runs = [run for run in client.read_flow_runs() if run.deployment_id == deployment]
            if (events and runs) or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        ours = {run.id for run in client.read_flow_runs() if run.parameters.get("params", {}).get("root") == root}
        artifacts = [found.data for found in client.read_artifacts() if found.key == "drift-report" and found.flow_run_id in ours]
        started = [{"state": run.state_name, "by": run.created_by.type if run.created_by else None} for run in runs]
        for name in ("fer_drift_limit", "fer_drift_faces"):
            Variable.unset(name)
        for automation in installed:
            client.delete_automation(automation.id)
        client.delete_deployment(deployment)
        events = [{"resource": event.resource.model_dump(), "payload": event.payload} for event in events]
found = {"refused": refused, "wrong": wrong, "automations": [made.name for made in installed], "calm": calm, "told": told, "again": again}
print(json.dumps({**found, "events": events, "runs": started, "artifacts": artifacts}))
"""


@pytest.fixture(scope="module")
def said(on_server, tmp_path_factory):
    """What a server saw of three reports on a root whose newest run has drifted."""
    folder = tmp_path_factory.mktemp("drift")
    root = folder / "labels"
    night(root, "first", 0)
    night(root, "odd", 1, happy=0.95)
    words = [sys.executable, "-c", SCRIPT, str(root), str(folder / "report.html")]
    ended = subprocess.run(words, env=on_server.environment(), capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "report.html").read_text("utf-8").startswith("<!doctype html>")
    return json.loads(ended.stdout.splitlines()[-1]) | {"root": str(root)}


def test_the_event_is_emitted_once_a_run(said):
    assert (said["calm"]["told"], said["told"]["told"], said["again"]["told"]) == (False, True, False)
    (event,) = said["events"]
    assert event["resource"]["prefect.resource.id"] == f"ferflow.labels.{said['root']}"
    assert event["resource"]["fer.run"] == "odd"
    assert event["payload"]["drifted"] == ["expression"]
    measures = {measure["measure"]: measure for measure in event["payload"]["measures"]}
    assert measures["expression"]["psi"] > 0.3
    assert measures["sharpness"]["verdict"] == "stable"


def test_limits_are_variables(said):
    assert said["calm"]["limits"] == {"watch": 0.1, "drift": 50.0, "faces": 200}
    assert said["calm"]["drifted"] == []
    assert said["told"]["limits"]["drift"] == 0.3
    assert said["wrong"] == "Prefect variable fer_drift_faces is no number: 'many'"


def test_the_automation_starts_the_retraining_once(said):
    assert said["refused"].startswith("there is no deployment retrain/weekly")
    assert said["automations"] == ["retrain on drift"]
    (run,) = said["runs"]
    assert run["by"] == "AUTOMATION"


def test_the_newest_run_is_an_artifact(said):
    assert len(said["artifacts"]) == 3
    text = said["artifacts"][0]
    assert "run odd has" in text
    assert "| expression |" in text
    assert "](data:image/png;base64," in text
    assert "report.html" in text
    assert "secret" not in text
