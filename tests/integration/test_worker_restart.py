"""A team's server and work-pool worker are killed amid a scheduled night: it is marked, gone on with, and the next night runs."""

import os
import shutil
import signal
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psutil
import pyarrow.dataset as ds
import pytest
import yaml

from fer_core.commit.verify import verify
from fer_core.storage.store import open_store
from tests.support.parts import SECONDS, Part, answers
from tests.support.processes import REPOSITORY
from tests.support.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1800)]

PICTURES = 16
QUICK = {"PREFECT_WORKER_QUERY_SECONDS": "1", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
BEAT, SILENCE = 30, 40
"""Seconds between heartbeats, as few as Prefect allows, and without one after which a run is dead; 60 and 240 in the files."""


@dataclass
class Nights:
    """What happened."""

    root: Any
    states: list[str]
    """Of the killed night, the first first."""
    crashed: dict[str, Any]
    """The killed night once it was found out."""
    killed: dict[str, Any]
    following: dict[str, Any]
    slots: int
    """Places of the deployment that are taken at the end."""


@pytest.fixture(scope="module")
def nights(two_pictures, tmp_path_factory):
    """All started, a scheduled night killed with everything, all started again, another night."""
    base, tag, port = tmp_path_factory.mktemp("restart").resolve(), uuid.uuid4().hex, free_port()
    url, root, photos = f"http://127.0.0.1:{port}", base / "labels", base / "photos"
    photos.mkdir()
    for number in range(PICTURES):
        (photos / f"{number:02d}.jpg").write_bytes((two_pictures / "t1.jpg").read_bytes() + bytes([number]))
    api = {**QUICK, "PREFECT_API_URL": f"{url}/api"}
    server, pool, terminal = Part(base, "server", tag, QUICK), Part(base, "pool", tag, api), Part(base, "terminal", tag, api)

    def start():
        server.start("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
        server.wait_for(lambda: answers(f"{url}/api/health"))
        return Served(server.process, {"url": url})

    try:
        served = start()
        deploy(terminal, {"source": str(photos), "to": str(root), "workers": 1, "shard_size": 1})
        pool.start("prefect", "worker", "start", "--pool", "ferflow", "--name", "night-worker")
        run = served.next_night("label-collection/nightly")
        pool.wait_for(lambda: bool(list(root.glob("_staging/*/**/*.json"))) and beats(served, run["id"]))
        power_cut(tag, server, pool)
        assert not list(root.glob("_meta/runs/*/manifest.json")), "the night was over too soon"

        served = start()
        pool.start("prefect", "worker", "start", "--pool", "ferflow", "--name", "night-worker")
        crashed = served.finished(run["id"])
        # As Retry on its page does. retry-crashed.yaml does it as well, but a server that has just begun holds back the next state of a
        # run for 15 minutes where the last is young (docs/guides/notifications.md).
        served.call("POST", f"/flow_runs/{run['id']}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}})
        killed = once_again(served, run["id"])
        states = served.call("GET", f"/flow_run_states/?flow_run_id={run['id']}")[1]
        shutil.copy(two_pictures / "astronaut.png", photos / "new.png")
        following = served.finished(served.next_night("label-collection/nightly")["id"])
        limit = served.deployment("label-collection/nightly")["global_concurrency_limit"]
        slots = served.call("GET", f"/v2/concurrency_limits/{limit['id']}")[1]["active_slots"]
        told = sorted((one["timestamp"], one["name"]) for one in states)
        yield Nights(root, [name for _, name in told], crashed, killed, following, slots)
    finally:
        power_cut(tag, server, pool)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def deploy(terminal, params):
    """As docs/guides/deploy.md says, with shorter waits."""
    text = (REPOSITORY / "deployments" / "prefect.yaml").read_text()
    value = yaml.safe_load(text.replace('HEARTBEAT_FREQUENCY: "60"', f'HEARTBEAT_FREQUENCY: "{BEAT}"'))
    nightly = next(one for one in value["deployments"] if one["name"] == "nightly")
    nightly["parameters"]["params"] = params
    file = terminal.folder / "work" / "prefect.yaml"
    file.write_text(yaml.safe_dump(value))
    zombies = terminal.folder / "work" / "zombie-runs.yaml"
    known = (REPOSITORY / "deployments" / "automations" / "zombie-runs.yaml").read_text()
    zombies.write_text(known.replace("within: 240", f"within: {SILENCE}"))
    for words in (
        ("work-pool", "create", "ferflow", "--type", "process"),
        ("work-queue", "create", "writers", "--pool", "ferflow", "--limit", 1, "--priority", 1),
        ("--no-prompt", "deploy", "--name", "nightly", "--prefect-file", file),
        ("automation", "create", "--from-file", zombies),
        ("automation", "create", "--from-file", REPOSITORY / "deployments" / "automations" / "retry-crashed.yaml"),
    ):
        ended = terminal.run("prefect", *words)
        assert ended.code == 0, ended.out + ended.err


def beats(served, run):
    """Whether the server has heard of the run: one that was never heard of cannot fall silent."""
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    return bool(served.call("POST", "/events/filter", {"filter": wanted})[1]["events"])


def once_again(served, run):
    """The run once it has ended after its second attempt began."""
    deadline = time.monotonic() + SECONDS
    while (found := served.call("GET", f"/flow_runs/{run}")[1])["run_count"] < 2:
        assert time.monotonic() < deadline, found["state"]
        time.sleep(0.5)
    return served.finished(run)


def power_cut(tag, *parts):
    """Everything that was started under this tag dies at once, these parts among it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("FERFLOW_TEST") == tag:
                os.kill(process.pid, signal.SIGKILL)
    for part in parts:
        if part.process is not None:
            part.process.wait(30)


def test_the_night_is_marked_and_gone_on_with(nights):
    assert nights.crashed["state"]["message"] == "no heartbeat for four minutes, its worker must have died"
    order = [nights.states.index(name) for name in ("Running", "Crashed", "AwaitingRetry", "Completed")]
    assert order == sorted(order), nights.states
    assert (nights.killed["state_type"], nights.killed["run_count"], nights.killed["auto_scheduled"]) == ("COMPLETED", 2, True)


def test_the_next_night_runs(nights):
    assert (nights.following["state_type"], nights.following["auto_scheduled"]) == ("COMPLETED", True), nights.following["state"]
    assert nights.slots == 0


def test_each_image_is_labelled_once(nights):
    images = ds.dataset(nights.root / "images", partitioning="hive").to_table().to_pandas()
    assert images["image_uri"].is_unique
    assert len(images) == PICTURES + 1
    assert set(images["status"]) == {"labeled"}
    assert images["run"].nunique() == 2
    assert verify(open_store(str(nights.root))).problems == ()
