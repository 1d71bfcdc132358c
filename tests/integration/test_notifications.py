"""Notifications: a real `ferflow up --notify`, failed runs, and what arrives at a webhook."""

import asyncio
import io
import json
import os
import shutil
import stat
import time
import uuid
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from uuid import UUID

import psutil
import pytest
import yaml

from flows.server import webhook
from flows.server.drift_automation import retrain_on_drift
from flows.server.notifications import automations, main
from tests.support.listener import SECRET, listening, mail
from tests.support.orchestrator import with_database
from tests.support.other_user import ask
from tests.support.served import up

pytestmark = pytest.mark.timeout(1200)

FOREIGN = "tcp://203.0.113.1:8786"
"""An address that is reserved for documentation."""

FILES = Path(__file__).resolve().parents[2] / "deployments" / "automations"


@pytest.fixture(scope="module")
def told(prefect_database, two_pictures, tmp_path_factory):
    """A morning without a night, a night that loses more than it may, a run with a cluster of its own; what was heard of them."""
    from tests.support.processes import Commands

    folder = tmp_path_factory.mktemp("notify")
    with_database(folder / "home", prefect_database)
    shutil.copytree(two_pictures, folder / "photos")
    (folder / "photos" / "uncle bob.jpg").write_bytes(b"\xff\xd8\xff")
    commands, found = Commands(folder / "home"), {}
    with listening(refusals=1) as listener:
        (folder / "address").write_text(f"{listener.url}\n")
        options = ("--source", "photos", "--to", "labels", "--notify", "@address", "--verbose")
        with up(commands, folder, *options) as served:
            runs = {"no night": served.finished(started_by_an_event(served, "night-check/daily"))}
            found["no night"] = listener.wait(runs["no night"]["id"])
            status, run = served.submit("label-collection/nightly", workers=1, max_failed=10)
            assert status == 201, run
            runs["night"] = served.finished(run["id"])
            found["night"] = listener.wait("nightly failed")
            found["quarantined"] = listener.wait("% of the images quarantined")
            status, run = served.submit("relabel/by-hand", root=str(folder / "gone uncle bob"), model="tiny", cluster=FOREIGN)
            assert status == 201, run
            runs["foreign cluster"] = served.finished(run["id"])
            listener.wait(runs["foreign cluster"]["id"])
            found["others"] = ask(f"{served.url}/api") if os.geteuid() == 0 else None
            kept = Path(served.said["password_file"])
            found |= {"password": served.password, "mode": stat.S_IMODE(kept.stat().st_mode)}
            found["processes"] = shown(commands)
            found["keepers"] = {str(file.relative_to(folder)): file.stat().st_mode & 0o777 for file in keepers(folder)}
            blocks = [all_blocks(served)]
            put_in_block(served, listener.url)
            found["put in"] = all_blocks(served)
            again = installed_and_moved_out(served, commands.home)
            found |= {"again": again, "automations": served.call("POST", "/automations/filter", {})[1]}
            blocks = "".join([*blocks, all_blocks(served)])
        found |= {"texts": listener.texts, "asked": listener.asked, "url": served.url}
    return found | {"runs": runs, "blocks": blocks, "log": "".join(served.errors), "folder": folder}


def started_by_an_event(served, name):
    """The run of a deployment that the server itself starts when something happens."""
    deployment = served.deployment(name)["id"]
    trigger = {"type": "event", "posture": "Reactive", "expect": ["test.happened"], "threshold": 1, "within": 0}
    action = {"type": "run-deployment", "source": "selected", "deployment_id": deployment, "parameters": None, "job_variables": None}
    status, made = served.call("POST", "/automations/", {"name": "a test", "trigger": trigger, "actions": [action]})
    assert status == 201, made
    happened = {"event": "test.happened", "resource": {"prefect.resource.id": "test"}}
    wanted = {"flow_runs": {"deployment_id": {"any_": [deployment]}, "tags": {"all_": []}}, "sort": "EXPECTED_START_TIME_DESC"}
    before = {run["id"] for run in served.call("POST", "/flow_runs/filter", wanted)[1]}
    deadline = time.monotonic() + 240
    while True:  # an automation counts from a moment after it was made
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        assert served.call("POST", "/events", [{**happened, "id": str(uuid.uuid4()), "occurred": moment}])[0] == 204
        again = time.monotonic() + 3
        while time.monotonic() < again:
            for run in served.call("POST", "/flow_runs/filter", wanted)[1]:
                if run["id"] not in before and not run["auto_scheduled"]:
                    served.call("DELETE", f"/automations/{made['id']}")
                    return run["id"]
            time.sleep(0.2)
        assert time.monotonic() < deadline, "the automation started nothing"


def installed_and_moved_out(served, home):
    """What docs/guides/notifications.md says for a team's server, for two blocks; and what a start after an earlier release does."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    said = []
    with (
        pytest.MonkeyPatch.context() as patch,
        temporary_settings({PREFECT_API_URL: f"{served.url}/api", PREFECT_API_AUTH_STRING: served.password}),
    ):
        patch.setenv("PREFECT_HOME", str(home / ".prefect"))
        for block in ("ferflow-webhook/ferflow", "slack-webhook/nobody"):
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                code = main([block])
            said.append((code, out.getvalue(), err.getvalue()))
        asyncio.run(webhook.migrate_webhook_block())
    return said


def shown(commands):
    """Command lines and environments of all processes of `ferflow up`."""
    ours = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("FERFLOW_TEST") == commands.tag:
                ours.append("\n".join((*process.cmdline(), *process.environ().values())))
    return ours


def keepers(folder):
    """Files in which the address stands."""
    return [file for file in folder.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def all_blocks(served):
    """With all that the API tells of them."""
    return json.dumps(served.call("POST", "/block_documents/filter", {"include_secrets": True})[1])


def put_in_block(served, url):
    """As an earlier release did."""
    _, found = served.call("GET", "/block_types/slug/ferflow-webhook/block_documents/name/ferflow?include_secrets=true")
    changed = {"data": {**found["data"], "secrets": {"address": url}}, "merge_existing_data": False}
    status, said = served.call("PATCH", f"/block_documents/{found['id']}", {**changed, "block_schema_id": found["block_schema_id"]})
    assert status == 204, said


def test_by_the_name_of_a_block(told):
    (done, _, _), (refused, _, why) = told["again"]
    assert (done, refused) == (0, 1)
    assert why == "there is no block slack-webhook/nobody: create one in the UI, under Blocks\n"
    assert sorted(one["name"] for one in told["automations"]) == sorted(made.name for made in automations(UUID(int=0)))


def test_no_run_at_all(told):
    text = told["no night"]
    assert told["runs"]["no night"]["state_type"] == "COMPLETED"
    assert text.startswith("ferflow: no run last night\n")
    labels = told["folder"] / "labels"
    assert f"No run was committed in the last 12 hours in {labels}, and none is running. No run was ever committed." in text
    assert f"{told['url']}/runs/flow-run/{told['runs']['no night']['id']}" in text
    assert "What to do: " in text


def test_too_many_quarantined_images(told):
    """For a run that completes: test_whole_job.py."""
    run, text = told["runs"]["night"], told["quarantined"]
    assert text.startswith("ferflow: 33.3 % of the images quarantined\n")
    assert "processed 3 images and quarantined 1 of them (unreadable: 1); the bound is 5 %" in text
    assert f"{told['url']}/runs/flow-run/{run['id']}" in text


def test_a_failed_night(told):
    """It has lost more than it may."""
    run, text = told["runs"]["night"], told["night"]
    assert run["state_type"] == "FAILED"
    assert "33.3 % of the images were quarantined" in run["state"]["message"]
    assert text.startswith("ferflow: label-collection/nightly failed\n")
    due = run["expected_start_time"].replace("T", " ")[:16]
    assert f"Run {run['name']} of label-collection/nightly, due {due} UTC, ended as Failed." in text
    assert f"{told['url']}/runs/flow-run/{run['id']}" in text


def test_all_that_was_told(told):
    """One message each; the first was refused once. For a morning after a run: test_flow_housekeeping.py."""
    mornings = [text for text in told["texts"] if text.startswith("ferflow: no run last night\n")]
    assert len(set(mornings)) == len(mornings)  # where the machine is busy, the event that starts it is sent again
    assert len(told["texts"]) - len(mornings) == 3  # two messages for the night: it failed, and more than the bound was quarantined
    assert told["asked"] == len(told["texts"]) + 1


def test_a_run_may_not_bring_a_cluster_along(told):
    run = told["runs"]["foreign cluster"]
    assert run["state_type"] == "FAILED"
    assert f"ferflow up --allow-cluster {FOREIGN}" in run["state"]["message"]


def test_automations_start_runs_with_the_password_on(told):
    assert told["runs"]["no night"]["state_type"] == "COMPLETED"


def test_the_password_is_its_owners(told):
    assert told["mode"] == 0o600
    assert told["password"] not in told["log"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_other_users_cannot_use_the_api(told):
    said = told["others"]
    assert set(said["statuses"].values()) <= {401, 403}, said["statuses"]  # 403: changes lack the pages' token as well
    assert "open" not in said["lines"].values(), said["lines"]
    assert said["environments"] == []
    assert not [words for words in said["arguments"] if told["password"] in words]


def test_no_picture_is_named(told):
    """Nor anything else that a failed run says or was given."""
    assert not [text for text in told["texts"] if "uncle" in text or "astronaut" in text or FOREIGN in text]


def test_the_address_is_a_secret(told):
    """Not in a block, also where an earlier release has put it there, nor a command line, an environment, a log or a database."""
    assert SECRET in told["put in"]
    assert "ferflow-webhook" in told["blocks"]
    assert len(told["processes"]) >= 3
    assert not [text for text in told["processes"] if SECRET in text]
    assert told["keepers"].keys() == {"address", "home/.prefect/ferflow-webhook"}
    assert told["keepers"]["home/.prefect/ferflow-webhook"] == 0o600
    assert SECRET not in told["blocks"]
    assert SECRET not in told["log"]


def test_what_refuses_is_told_without_its_address(monkeypatch, tmp_path):
    from prefect.blocks.abstract import NotificationError

    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    block = webhook.webhook()
    with pytest.raises(NotificationError) as unknown:
        asyncio.run(block.notify("body", "subject", (0, 0)))
    assert unknown.value.log == "the webhook's address cannot be read (No such file or directory): give --notify again"
    with listening(refusals=4) as listener:
        (tmp_path / webhook.FILE).write_text(listener.url)
        with pytest.raises(NotificationError) as refused:
            asyncio.run(block.notify("body", "subject", (0, 0)))
        assert listener.asked == 3
    assert refused.value.log == "the webhook did not accept the notification: status 500"
    with pytest.raises(NotificationError) as unheard:
        asyncio.run(block.notify("body", "subject", (0, 0)))
    assert unheard.value.log == "the webhook did not accept the notification: ConnectError"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise looks at pictures with it
def test_mail_over_a_server_of_ones_own():
    """As docs/guides/notifications.md says: the block for Slack hands the address to Apprise, which knows mail as well."""
    from prefect.blocks.notifications import SlackWebhook

    with mail() as post:
        block = SlackWebhook(url=f"mailto://127.0.0.1:{post.port}?from=ferflow@example.org&to=you@example.org&mode=insecure")
        with block.raise_on_failure():
            asyncio.run(block.anotify("Where to look: here", "ferflow: no run last night"))
    assert "rcpt TO:<you@example.org>" in post.said
    assert "Subject: ferflow: no run last night" in post.said
    assert "Where to look: here" in post.said


def test_the_files_for_the_command_line_say_the_same():
    nobody = "00000000-0000-0000-0000-000000000000"
    given = yaml.safe_load((FILES / "notifications.yaml").read_text("utf-8"))["automations"]
    given.append(yaml.safe_load((FILES / "retrain-on-drift.yaml").read_text("utf-8")))
    ours = [*automations(nobody), retrain_on_drift(nobody)]
    assert [_shown(type(ours[0]).model_validate(one)) for one in given] == [_shown(one) for one in ours]


def _shown(automation):
    shown = automation.model_dump(mode="json")
    shown["trigger"]["expect"].sort()
    return shown
