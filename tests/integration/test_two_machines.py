"""Two machines' worth of parts on one: server, work-pool worker, Dask scheduler, two Dask workers, object store, and a user's terminal.

Each has a folder and a home of its own, and nothing is shared but the store. The nightly deployment of deployments/prefect.yaml runs
through all of them.
"""

import json
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq
import pytest
import s3fs

from tests.support.parts import Part, answers, free_ports
from tests.support.processes import REPOSITORY, Commands, Ended
from tests.support.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]  # a fixture does all the work

BUCKET = "night"
COPIES = 6
"""Of a picture with six faces: enough that both workers get some."""
PASSWORD = "ferflow:the-password-of-the-night"
PORTS = ("server", "store")
STORE = {"AWS_ACCESS_KEY_ID": "night", "AWS_SECRET_ACCESS_KEY": "a secret of the night", "AWS_REGION": "us-east-1"}
QUICK = {"PREFECT_WORKER_QUERY_SECONDS": "1", "DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass
class Night:
    """What it left."""

    parts: dict[str, Part]
    ports: dict[str, int]
    run: dict[str, Any]
    verified: Ended
    objects: list[str]
    """Under the labels root."""
    images: list[dict[str, Any]]
    labels: list[dict[str, Any]]
    left: list[str]
    """Processes, once every part was stopped."""


@pytest.fixture(scope="module")
def night(two_pictures, tmp_path_factory):
    """All started, the deployment deployed, one run asked of the server, all stopped."""
    base, tag, ports = tmp_path_factory.mktemp("machines").resolve(), uuid.uuid4().hex, free_ports(PORTS)
    server, store = (f"http://127.0.0.1:{ports[name]}" for name in PORTS)
    api, keys = {**QUICK, "PREFECT_API_URL": f"{server}/api", "PREFECT_API_AUTH_STRING": PASSWORD}, {**STORE, "AWS_ENDPOINT_URL": store}
    parts = {
        "store": Part(base, "store", tag),
        "server": Part(base, "server", tag, {**QUICK, "PREFECT_SERVER_API_AUTH_STRING": PASSWORD}),
        "scheduler": Part(base, "scheduler", tag, {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}),
        "first": Part(base, "first", tag, keys),
        "second": Part(base, "second", tag, keys),
        "pool": Part(base, "pool", tag, {**api, **keys}),
        "terminal": Part(base, "terminal", tag, {**api, **keys}),
    }
    with ExitStack() as stack:
        for part in parts.values():
            stack.callback(part.stop)
        parts["store"].start("python", "-m", "moto.server", "-H", "127.0.0.1", "-p", ports["store"])
        words = (
            "--app-dir",
            parts["server"].folder,
            "--factory",
            "flows.server.application:create_app",
            "--host",
            "127.0.0.1",
            "--port",
            ports["server"],
        )
        parts["server"].start("python", "-P", "-m", "uvicorn", *words)  # as docs/guides/deploy.md says
        scheduler = dask(parts, ports)
        fs = photographs(two_pictures, store, parts["store"])
        parts["server"].wait_for(lambda: answers(f"{server}/api/health"))
        deploy(parts["terminal"])
        parts["pool"].start("prefect", "worker", "start", "--pool", "ferflow", "--name", "night-worker")
        served = Served(parts["server"].process, {"url": server, "password": PASSWORD})
        given = {"source": f"s3://{BUCKET}/photos", "to": f"s3://{BUCKET}/labels", "cluster": scheduler, "shard_size": 1}
        status, asked = served.submit("label-collection/nightly", **given)
        assert status == 201, asked
        run = served.finished(asked["id"])
        _, run["logs"] = served.call("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [asked["id"]]}}})
        verified = parts["terminal"].run("python", "-m", "flows.cli.main", "verify", given["to"], "--json")
        objects, images, labels = fs.find(f"{BUCKET}/labels"), rows(fs, "images"), rows(fs, "labels")
    return Night(parts, ports, run, verified, objects, images, labels, left(tag, base))


def rows(fs, table):
    """As readers see them."""
    files = [file for file in fs.find(f"{BUCKET}/labels/{table}") if file.endswith(".parquet")]
    return [row for file in files for row in pq.read_table(BytesIO(fs.cat_file(file))).to_pylist()]


def dask(parts, ports):
    """Address of a scheduler with two workers, which are there or on their way. They are started as docs/guides/deploy.md says."""
    file = parts["scheduler"].folder / "work" / "scheduler.json"
    words = ("--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--no-jupyter", "--scheduler-file", file)
    parts["scheduler"].start("dask", "scheduler", *words)
    parts["scheduler"].wait_for(lambda: file.exists() and file.read_text().endswith("}"))
    address = json.loads(file.read_text())["address"]
    ports["scheduler"] = urlsplit(address).port
    for name in ("first", "second"):
        parts[name].start("dask", "worker", address, "--host", "127.0.0.1", "--nthreads", 1, "--no-dashboard", "--name", name)
    return address


def photographs(two_pictures, endpoint, store):
    """Put into the store, once it answers."""
    store.wait_for(lambda: answers(endpoint))
    fs = s3fs.S3FileSystem(
        key=STORE["AWS_ACCESS_KEY_ID"],
        secret=STORE["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=endpoint,
        client_kwargs={"region_name": STORE["AWS_REGION"]},
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    fs.call_s3("create_bucket", Bucket=BUCKET)
    picture = (two_pictures / "t1.jpg").read_bytes()
    for number in range(COPIES):
        fs.pipe_file(f"{BUCKET}/photos/{number}.jpg", picture + bytes([number]))
    return fs


def deploy(terminal):
    """As docs/guides/deploy.md says."""
    file = REPOSITORY / "deployments" / "prefect.yaml"
    for words in (
        ("work-pool", "create", "ferflow", "--type", "process"),
        ("work-queue", "create", "writers", "--pool", "ferflow", "--limit", 1, "--priority", 1),
        ("--no-prompt", "deploy", "--name", "nightly", "--prefect-file", file),
    ):
        ended = terminal.run("prefect", *words)
        assert ended.code == 0, ended.out + ended.err


def left(tag, home):
    commands = Commands(home)
    commands.tag = tag
    try:
        commands.wait_until_gone(30)
    except AssertionError:
        return commands.left()
    return []


def test_the_night_is_labelled(night):
    said = "\n".join(line["message"] for line in night.run["logs"])
    assert night.run["state_type"] == "COMPLETED", said
    assert (night.run["work_pool_name"], night.run["work_queue_name"]) == ("ferflow", "writers")
    assert sorted(row["image_uri"] for row in night.images) == [f"s3://{BUCKET}/photos/{number}.jpg" for number in range(COPIES)]
    assert {row["status"] for row in night.images} == {"labeled"}
    assert len(night.labels) == sum(row["n_faces"] for row in night.images) >= COPIES


def test_what_it_wrote_is_whole(night):
    assert (night.verified.code, night.verified.json["problems"]) == (0, []), night.verified.err
    assert (night.verified.json["runs"], night.verified.json["rows"]) == (1, len(night.images) + len(night.labels))
    assert [file for file in night.objects if "/_staging/" in file or "/leases/" in file] == []


def test_it_went_through_all_of_them(night):
    """Who connected to whom. The pool's worker has started the run's process, in its own folder."""
    wanted = {
        "pool": {"server", "scheduler", "store"},
        "first": {"scheduler", "store"},
        "second": {"scheduler", "store"},
        "terminal": {"server", "store"},
        "server": set(),
        "scheduler": set(),
    }
    found = {name: {there for there, port in night.ports.items() if port in night.parts[name].ports()} - {name} for name in wanted}
    assert found == wanted
    assert "night-worker" in night.parts["pool"].said()


def test_nothing_is_shared_but_the_store(night):
    assert {name: part.foreign_files() for name, part in night.parts.items() if part.foreign_files()} == {}
    databases = [file.relative_to(night.parts["server"].folder.parent).parts[0] for file in databases_of(night)]
    assert set(databases) == {"server"}
    tables = [file for part in night.parts.values() for file in part.folder.rglob("*.parquet")]
    assert tables == []


def databases_of(night):
    """Of Prefect."""
    return [file for part in night.parts.values() for file in part.folder.rglob("prefect.db")]


def test_every_part_stops_when_it_is_told_to(night):
    assert night.left == []
