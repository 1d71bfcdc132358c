"""Somebody is told: a real `ferflow up --notify`, three nights that go wrong, and what arrives at a webhook."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
import yaml
from listener import SECRET, listening
from served import up

from flows import webhook
from flows.drift_automation import retrain_on_drift
from flows.notifications import automations

pytestmark = pytest.mark.timeout(1200)

FILES = Path(__file__).resolve().parents[1] / "deployments" / "automations"


@pytest.fixture(scope="module")
def told(two_pictures, tmp_path_factory):
    """A morning without a night, a night with a broken picture, one that fails, a morning after a night; what was heard of it."""
    from processes import Commands

    folder = tmp_path_factory.mktemp("notify")
    (folder / "home").mkdir()
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
            found["last"] = listener.wait(runs["night that lost too much"]["name"])
            blocks = json.dumps(served.call("POST", "/block_documents/filter", {"include_secrets": False})[1])
        found |= {"texts": listener.texts, "asked": listener.asked, "url": served.url}
    return found | {"runs": runs, "blocks": blocks, "log": "".join(served.errors), "folder": folder}


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
    assert f"Run {run['name']} of label-collection/nightly ended as Failed." in text
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
