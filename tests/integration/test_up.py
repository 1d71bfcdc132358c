"""`ferflow up` as a real process in an empty home, without a network: forms, a run, a refusal, a kill amid a night, the next night."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.dataset as ds
import pytest

from fer_core.commit.verify import verify
from fer_core.storage.store import open_store
from flows.label_params import LabelParams
from tests.support import form_in_browser
from tests.support.processes import NETWORK_HOOK, REPOSITORY, Commands
from tests.support.served import FINAL, RUN_SECONDS, up

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]  # two starts and three runs in one fixture

PICTURES = 12

HOOK = "http://127.0.0.1:9/T0PSECRET"
"""Nothing listens there."""

PREFECT = (  # as docs/guides/deploy.md says, for a server that a team has
    ("work-pool", "create", "ferflow", "--type", "process"),
    ("work-queue", "create", "writers", "--pool", "ferflow", "--limit", "1", "--priority", "1"),
    ("--no-prompt", "deploy", "--all", "--prefect-file", REPOSITORY / "deployments" / "prefect.yaml"),
    ("automation", "create", "--from-file", REPOSITORY / "deployments" / "automations" / "zombie-runs.yaml"),
)


@dataclass
class Story:
    """What happened, for the tests to look at."""

    root: Any
    deployments: dict[str, Any] = field(default_factory=dict)
    refused: list[tuple[int, Any]] = field(default_factory=list)
    second: Any = None
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    seen: form_in_browser.Seen | None = None
    first_run: dict[str, Any] = field(default_factory=dict)
    rows_of_first_run: int = 0
    staged: set[str] = field(default_factory=set)
    first_run_later: dict[str, Any] = field(default_factory=dict)
    killed_run: dict[str, Any] = field(default_factory=dict)
    schedule_later: dict[str, Any] = field(default_factory=dict)
    next_night: dict[str, Any] = field(default_factory=dict)
    parameters_then: dict[str, Any] = field(default_factory=dict)
    parameters_later: dict[str, Any] = field(default_factory=dict)
    planned: list[dict[str, Any]] = field(default_factory=list)
    commands_failed: list[str] = field(default_factory=list)
    pooled: dict[str, Any] = field(default_factory=dict)
    queues: dict[str, Any] = field(default_factory=dict)
    automations: list[Any] = field(default_factory=list)
    automations_then: list[Any] = field(default_factory=list)
    log: str = ""
    code: int | None = None
    watched: str = ""
    contacted: str = ""


@pytest.fixture(scope="module")
def story(two_pictures, tmp_path_factory):
    """Up, a run with changed parameters, a kill amid another, up again, stopped."""
    folder = tmp_path_factory.mktemp("up")
    hook, log, home, root = folder / "hook", folder / "network.log", folder / "home", folder / "labels"
    for made in (hook, home, folder / "many"):
        made.mkdir()
    (hook / "sitecustomize.py").write_text(NETWORK_HOOK)
    for number in range(PICTURES):
        (folder / "many" / f"{number:02d}.jpg").write_bytes((two_pictures / "t1.jpg").read_bytes() + bytes([number]))
    commands, env = Commands(home), {"PYTHONPATH": str(hook), "NETWORK_LOG": str(log)}
    shutil.copytree(two_pictures, folder / "photos")
    told = Story(root)

    options = ("--source", "photos", "--to", "labels", "--models", "models", "--timezone", "Europe/Berlin", "--notify", HOOK)
    with up(commands, folder, *options, env=env) as served:
        for name in served.said["deployments"]:
            told.deployments[name] = served.deployment(name)
        told.refused = [
            served.submit("label-collection/nightly", workers="many"),
            served.submit("label-collection/nightly", shard_size=0),
            served.submit("label-collection/nightly", pictures="all"),
            served.submit("retrain/weekly", gate={"accuracy": 7}),
        ]
        told.second = commands.run("up", "--port", 0)
        for page in ("/", "/v2/", "/api/health"):
            with urllib.request.urlopen(urllib.request.Request(served.url + page)) as answer:
                told.headers[page] = dict(answer.headers.items())
        nightly = served.deployment("label-collection/nightly")
        if form_in_browser.present():
            told.seen = form_in_browser.submit(served.url, served.password, nightly["id"], "a test", folder / "browser")
            run = served.newest(nightly["id"])
        else:
            status, run = served.submit("label-collection/nightly", workers=1, purpose="a test")
            assert status == 201, run
        told.first_run = served.finished(run["id"])
        told.rows_of_first_run = ds.dataset(root / "labels").count_rows()

        told.automations_then = served.call("POST", "/automations/filter", {})[1]
        (failed,) = (one for one in told.automations_then if one["name"] == "tell of a failed run")
        served.call("PATCH", f"/automations/{failed['id']}", {"enabled": False})
        changed = {"source": str(folder / "many"), "workers": 1, "shard_size": 1}
        params = {"params": {**nightly["parameters"]["params"], **changed}}
        served.call("PATCH", f"/deployments/{nightly['id']}", {"parameters": params})
        told.parameters_then = served.deployment("label-collection/nightly")["parameters"]
        run = served.next_night("label-collection/nightly")
        deadline = time.monotonic() + RUN_SECONDS
        while not (staged := receipts(root)):
            found = served.call("GET", f"/flow_runs/{run['id']}")[1]
            assert found["state_type"] not in FINAL, found["state"]
            assert time.monotonic() < deadline, found["state"]
            time.sleep(0.1)
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait(timeout=280)
        commands.wait_until_gone(30)
        told.staged = staged

    with up(commands, folder, "--to", "labels", "--timezone", "Europe/Berlin", "--notify", HOOK, "--verbose", env=env) as served:
        told.first_run_later = served.call("GET", f"/flow_runs/{told.first_run['id']}")[1]
        told.killed_run = served.finished(run["id"])
        told.planned = served.planned("report/daily")
        told.parameters_later = served.deployment("label-collection/nightly")["parameters"]
        (told.schedule_later,) = served.deployment("label-collection/nightly")["schedules"]
        (folder / "many" / "new.jpg").write_bytes((two_pictures / "t1.jpg").read_bytes() + b"new")
        told.next_night = served.finished(served.next_night("label-collection/nightly")["id"])
        for words in PREFECT:
            command = [sys.executable, "-m", "prefect", *map(str, words)]
            settings = commands.environment({**env, **served.variables(), "DO_NOT_TRACK": "1"})
            ended = subprocess.run(command, env=settings, cwd=folder, capture_output=True, text=True, check=False, timeout=280)
            if ended.returncode:
                told.commands_failed.append(f"{command}: {ended.stdout}{ended.stderr}")
        told.pooled = {name: served.deployment(name) for name in served.said["deployments"]}
        told.queues = {one["name"]: one for one in served.call("POST", "/work_pools/ferflow/queues/filter", {})[1]}
        told.automations = served.call("POST", "/automations/filter", {})[1]
        served.process.send_signal(signal.SIGTERM)
        told.code = served.process.wait(timeout=280)
        commands.wait_until_gone(10)
    told.log = "".join(served.errors)
    told.watched = log.with_name("network.log.watched").read_text()
    told.contacted = log.read_text() if log.exists() else ""
    return told


def receipts(root):
    """Parts that a run at work has staged."""
    return {str(file.relative_to(root)) for file in root.glob("_staging/*/**/*.json")}


def test_nothing_leaves_the_machine(story):
    for process in ("ferflow", "uvicorn", "flows.server.serve", "prefect.engine", "'-c'"):  # the last are Dask's workers
        assert process in story.watched, f"{process} ran unwatched"
    assert story.contacted == ""


def test_pages_may_talk_to_their_server_alone(story):
    """Prefect's own pages ask a tracking service for its configuration, whatever the settings say; the browser refuses that."""
    for headers in story.headers.values():
        assert headers["content-security-policy"].startswith("default-src 'self' data: blob:")
        assert "http" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


def test_every_flow_is_deployed(story):
    shown = {
        name: [(s["schedule"]["cron"], s["schedule"]["timezone"], s["active"]) for s in d["schedules"]]
        for name, d in story.deployments.items()
    }
    assert shown == {
        "label-collection/nightly": [("0 2 * * *", "Europe/Berlin", True)],
        "night-check/daily": [("0 6 * * *", "Europe/Berlin", True)],
        "relabel/by-hand": [],
        "forget/by-hand": [],
        "housekeeping/weekly": [("0 12 * * 0", "Europe/Berlin", True)],
        "report/daily": [("30 6 * * *", "Europe/Berlin", True)],
        "retrain/weekly": [("0 3 * * 6", "Europe/Berlin", True)],
    }
    for deployment in story.deployments.values():
        assert "ferflow" in deployment["tags"]
        assert deployment["enforce_parameter_schema"] is True
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"


def test_schedules_become_runs(story):
    """They do not where Prefect's scheduler fails, which shows nowhere but in the server's log."""
    begins = [datetime.fromisoformat(run["expected_start_time"]).astimezone(ZoneInfo("Europe/Berlin")) for run in story.planned]
    assert {(begin.hour, begin.minute) for begin in begins} == {(6, 30)}


def test_forms_are_filled_in(story):
    folder = story.root.parent
    nightly = story.deployments["label-collection/nightly"]["parameters"]["params"]
    assert nightly == {"source": str(folder / "photos"), "to": str(folder / "labels"), "model": str(folder / "models")}
    assert story.deployments["report/daily"]["parameters"]["params"]["to"] == str(folder / "labels-report.html")
    assert story.deployments["retrain/weekly"]["parameters"]["params"] == {"models": str(folder / "models"), "reviewed": str(story.root)}


def test_wrong_values_are_refused_before_a_run_exists(story):
    assert [status for status, _ in story.refused] == [409, 409, 409, 409]
    assert "many" in str(story.refused[0][1])


def test_a_second_one_is_refused_in_one_line(story):
    assert story.second.code == 1
    assert "ferflow up is running already" in story.second.line
    assert "http://127.0.0.1:" in story.second.line


def test_a_run_from_the_form_labels_the_pictures(story):
    assert story.first_run["state_type"] == "COMPLETED", story.first_run["state"]
    given = story.first_run["parameters"]["params"]
    assert (given["purpose"], given["workers"]) == ("a test", 1)
    assert story.rows_of_first_run >= 7


def test_the_form_in_a_browser(story):
    if story.seen is None:
        pytest.skip("no chromium with its chromedriver on this machine (Debian: apt-get install chromium chromium-driver)")
    fields = [field.title for field in LabelParams.model_fields.values()]
    assert [title for title in story.seen.titles if title in fields] == fields, story.seen.titles
    assert story.seen.said_of_nought_workers  # in the browser's language
    assert story.seen.asked == []


def test_a_killed_night_is_gone_on_with(story):
    assert story.killed_run["auto_scheduled"]
    assert story.killed_run["state_type"] == "COMPLETED", story.killed_run["state"]
    assert story.killed_run["run_count"] == 2
    images = ds.dataset(story.root / "images", partitioning="hive").to_table().to_pandas()
    many = images[images["image_uri"].str.contains("/many/") & ~images["image_uri"].str.endswith("new.jpg")]
    assert many["run"].nunique() == 1
    assert sorted(many["image_uri"]) == sorted(str(story.root.parent / "many" / f"{number:02d}.jpg") for number in range(PICTURES))
    assert set(many["status"]) == {"labeled"}
    assert verify(open_store(str(story.root))).problems == ()


def test_the_next_night_labels_what_came_since(story):
    assert story.next_night["auto_scheduled"]
    assert story.next_night["state_type"] == "COMPLETED", story.next_night["state"]
    assert story.next_night["run_count"] == 1
    images = ds.dataset(story.root / "images", partitioning="hive").to_table().to_pandas()
    newest = images[images["run"] == images["run"].max()]
    assert list(newest["image_uri"]) == [str(story.root.parent / "many" / "new.jpg")]


def test_automations_are_there_once_and_stay_as_they_were_left(story):
    """Two starts with --notify; one was switched off in between."""
    ours = ["retrain on drift", "tell of a failed run", "tell of a missing night", "tell of quarantined images"]
    assert sorted((one["name"], one["enabled"]) for one in story.automations_then) == [(name, True) for name in ours]
    later = {one["name"]: one for one in story.automations}
    assert len(later) == len(story.automations) == 5
    assert [(name, later[name]["enabled"]) for name in ours] == [(name, name != "tell of a failed run") for name in ours]
    (drift,) = later["retrain on drift"]["actions"]
    assert drift["deployment_id"] == story.deployments["retrain/weekly"]["id"]


def test_the_address_of_the_webhook_is_in_no_log(story):
    assert "T0PSECRET" not in story.log


def test_a_restart_keeps_history_and_what_was_changed(story):
    assert story.first_run_later["state"] == story.first_run["state"]
    assert story.schedule_later["active"] is False
    assert story.parameters_later == story.parameters_then
    assert story.parameters_then != story.deployments["label-collection/nightly"]["parameters"]


def test_the_file_for_work_pools_deploys_as_well(story):
    assert story.commands_failed == []
    assert story.queues["writers"]["concurrency_limit"] == 1
    queues = {name: (one["work_pool_name"], one["work_queue_name"]) for name, one in story.pooled.items()}
    assert queues == {
        "label-collection/nightly": ("ferflow", "writers"),
        "relabel/by-hand": ("ferflow", "writers"),
        "forget/by-hand": ("ferflow", "writers"),
        "housekeeping/weekly": ("ferflow", "writers"),
        "night-check/daily": ("ferflow", "default"),
        "report/daily": ("ferflow", "default"),
        "retrain/weekly": ("ferflow", "default"),
    }
    assert not any(one["pull_steps"] for one in story.pooled.values())
    assert "mark zombie runs as crashed" in [one["name"] for one in story.automations]


def test_it_stops_cleanly(story):
    assert story.code == 0
