"""Somebody is told: a real `ferflow up --notify`, three nights that go wrong, and what arrives at a webhook."""

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from listener import SECRET, listening, mail
from orchestrator import with_database
from served import up

from flows import webhook
from flows.drift_automation import retrain_on_drift
from flows.notifications import automations

pytestmark = pytest.mark.timeout(1200)

FILES = Path(__file__).resolve().parents[1] / "deployments" / "automations"


@pytest.fixture(scope="module")
def told(prefect_database, two_pictures, tmp_path_factory):
    """A morning without a night, a night with a broken picture, one that fails, a morning after a night; what was heard of it."""
    from processes import Commands

    folder = tmp_path_factory.mktemp("notify")
    with_database(folder / "home", prefect_database)
    shutil.copytree(two_pictures, folder / "photos")
    (folder / "photos" / "uncle bob.jpg").write_bytes(b"\xff\xd8\xff")
    commands, found = Commands(folder / "home"), {}
    with listening(refusals=1) as listener:
        options = ("--source", "photos", "--to", "labels", "--notify", listener.url, "--verbose")
        with up(commands, folder, *options) as served:
            runs = {}
            for name, deployment, changed, words in (
                ("no night", "night-check/daily", {}, "no run last night"),
                ("night", "label-collection/nightly", {"workers": 1, "max_failed": 90}, "% of the images quarantined"),
                ("failed night", "label-collection/nightly", {"source": str(folder / "gone uncle bob")}, "nightly failed"),
                ("night that lost too much", "label-collection/nightly", {"workers": 1, "force": True, "max_failed": 10}, None),
                ("a night", "night-check/daily", {}, None),
            ):
                status, run = served.submit(deployment, **changed)
                assert status == 201, run
                runs[name] = served.finished(run["id"])
                if words is not None:
                    found[name] = listener.wait(words)
            listener.wait(f"{runs['night that lost too much']['id']} (the end of its log")
            again = [installed(served, commands, folder, block) for block in ("ferflow-webhook/ferflow", "slack-webhook/nobody")]
            found |= {"again": again, "automations": served.call("POST", "/automations/filter", {})[1]}
            blocks = json.dumps(served.call("POST", "/block_documents/filter", {"include_secrets": False})[1])
        found |= {"texts": listener.texts, "asked": listener.asked, "url": served.url}
    return found | {"runs": runs, "blocks": blocks, "log": "".join(served.errors), "folder": folder}


def installed(served, commands, folder, block):
    """As docs/notifications.md says for a server that a team has."""
    words = [sys.executable, "-m", "flows.notifications", block]
    env = commands.environment({"PREFECT_API_URL": f"{served.url}/api", "DO_NOT_TRACK": "1"})
    ended = subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, check=False, timeout=280)
    return ended.returncode, ended.stdout, ended.stderr


def test_by_the_name_of_a_block(told):
    (done, _, _), (refused, _, why) = told["again"]
    assert (done, refused) == (0, 1)
    assert why == "there is no block slack-webhook/nobody: make one in the pages, under Blocks\n"
    assert sorted(one["name"] for one in told["automations"]) == sorted(made.name for made in automations(UUID(int=0)))


def test_no_run_at_all(told):
    text = told["no night"]
    assert told["runs"]["no night"]["state_type"] == "COMPLETED"
    assert f"No run was committed in the last 12 hours in {told['folder'] / 'labels'}, and none is at work. There never was one." in text
    assert f"{told['url']}/runs/flow-run/{told['runs']['no night']['id']}" in text
    assert "What to do: " in text


def test_too_many_quarantined_images(told):
    run, text = told["runs"]["night"], told["night"]
    assert run["state_type"] == "COMPLETED"
    assert text.startswith("ferflow: 33.3 % of the images quarantined\n")
    assert "looked at 3 images and could not use 1 of them (unreadable: 1); the bound is 5 %" in text
    assert f"{told['url']}/runs/flow-run/{run['id']}" in text


def test_a_failed_night(told):
    run, text = told["runs"]["failed night"], told["failed night"]
    assert run["state_type"] == "FAILED"
    assert text.startswith("ferflow: label-collection/nightly failed\n")
    due = run["expected_start_time"].replace("T", " ")[:16]
    assert f"Run {run['name']} of label-collection/nightly, due {due} UTC, ended as Failed." in text
    assert f"{told['url']}/runs/flow-run/{run['id']}" in text


def test_a_night_that_lost_more_than_it_may_has_failed(told):
    run = told["runs"]["night that lost too much"]
    assert run["state_type"] == "FAILED"
    assert "33.3 % of the images were quarantined" in run["state"]["message"]


def test_all_that_was_told(told):
    """One message each, nothing of the morning after a night; the first was refused once."""
    assert told["runs"]["a night"]["state_type"] == "COMPLETED"
    assert len(told["texts"]) == 5  # the night that lost too much is told of twice: it failed, and lost more than the bound
    assert told["asked"] == 6


def test_no_picture_is_named(told):
    assert not [text for text in told["texts"] if "uncle" in text or "astronaut" in text]


def test_the_address_is_a_secret(told):
    assert "ferflow-webhook" in told["blocks"]
    assert SECRET not in told["blocks"]
    assert SECRET not in told["log"]


def test_what_refuses_is_told_without_its_address(monkeypatch):
    from prefect.blocks.abstract import NotificationError

    monkeypatch.setattr(webhook, "WAITS", (0.0, 0.0))
    with listening(refusals=4) as listener:
        block = webhook.webhook(listener.url)
        with pytest.raises(NotificationError) as refused:
            asyncio.run(block.notify("body", "subject"))
        assert listener.asked == 3
    assert refused.value.log == "the webhook did not take it: status 500"
    with pytest.raises(NotificationError) as unheard:
        asyncio.run(block.notify("body", "subject"))
    assert unheard.value.log == "the webhook did not take it: ConnectError"


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # Apprise looks at pictures with it
def test_mail_over_a_server_of_ones_own():
    """As docs/notifications.md says: the block for Slack hands the address to Apprise, which knows mail as well."""
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
