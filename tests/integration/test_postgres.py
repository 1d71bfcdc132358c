"""The services of deployments/docker/compose.yaml as processes of this machine, on PostgreSQL: no container, but their commands,
their environment and their health checks. A night, a backup of the database, and a server on what was restored.
"""

import json
import subprocess
import sys
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
import s3fs

from tests.support.composed import compose, example, image_environment
from tests.support.parts import Part, answers, free_ports
from tests.support.postgres import PASSWORD, postgres
from tests.support.processes import REPOSITORY, Ended
from tests.support.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1500)]  # a fixture does all the work

KEYS = {"S3_ACCESS_KEY": "night", "S3_SECRET_KEY": "a-secret-of-the-night"}
API = {"FERFLOW_PASSWORD": "the-password-of-the-pages"}
GIVEN = {**example(), **KEYS, **API, "POSTGRES_PASSWORD": PASSWORD, "FERFLOW_PURPOSE": "a test"}
SECRETS = (PASSWORD, KEYS["S3_SECRET_KEY"], API["FERFLOW_PASSWORD"])
PORTS = {"4200": "server", "8333": "store", "8786": "scheduler", "8789": "worker's", "8080": "health"}
NAMES = {"server", "worker", "scheduler", "dask-worker", "setup"}


@dataclass
class Story:
    """What happened."""

    parts: dict[str, Part]
    setups: list[Ended] = field(default_factory=list)
    healthy: dict[str, int] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    verified: Ended | None = None
    automations: list[str] = field(default_factory=list)
    restored_run: dict[str, Any] = field(default_factory=dict)
    restored_deployment: dict[str, Any] = field(default_factory=dict)
    refused: Ended | None = None
    without_password: int = 0


class Composed:
    """The file's services with this machine's addresses in place of the containers'."""

    def __init__(self, base, ports, database_port):
        self.services = compose(GIVEN)["services"]
        models = base / "models"
        models.mkdir()
        self.places = [(f":{port}", f":{ports[name]}") for port, name in PORTS.items()]
        self.places += [(f"', {port})", f"', {ports[name]})") for port, name in PORTS.items()]
        self.places += [(f"//{name}:", "//127.0.0.1:") for name in ("server", "store", "scheduler")]
        self.places += [("0.0.0.0", "127.0.0.1"), ("/data/models", str(models)), ("/deployments/", f"{REPOSITORY}/deployments/")]
        self.whole = {**{port: str(ports[name]) for port, name in PORTS.items()}, "5432": str(database_port), "database": "127.0.0.1"}
        self.base, self.tag = base, uuid.uuid4().hex

    def here(self, word):
        for old, new in self.places:
            word = word.replace(old, new)
        return self.whole.get(word, word)

    def part(self, name, **changed):
        """Ready to be started, in the image's environment and the service's."""
        environment = {**image_environment("cpu.Dockerfile"), **self.services[name].get("environment", {}), **changed}
        part = Part(self.base, name, self.tag)
        environment = {key: self.here(value.replace("/home/ferflow", str(part.folder / "home"))) for key, value in environment.items()}
        part.environment |= {**environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
        return part

    def command(self, name):
        return [self.here(word) for word in self.services[name]["command"]]

    def health(self, part):
        """Exit code of its check."""
        program, *words = (self.here(word) for word in self.services[part.name]["healthcheck"]["test"][1:])
        assert program == "python"
        return subprocess.run([sys.executable, *words], env=part.environment, check=False, capture_output=True, timeout=60).returncode


@pytest.fixture(scope="module")
def story(two_pictures, tmp_path_factory):
    base, ports = tmp_path_factory.mktemp("composed").resolve(), free_ports(PORTS.values())
    with postgres() as database, ExitStack() as stack:
        composed = Composed(base, ports, database.port)
        parts = {name: composed.part(name) for name in sorted(NAMES)}
        parts["store"] = Part(base, "store", composed.tag)
        for part in parts.values():
            stack.callback(part.stop)
        told = Story(parts)
        parts["store"].start("python", "-m", "moto.server", "-H", "127.0.0.1", "-p", ports["store"])
        for name in ("server", "scheduler", "dask-worker"):
            parts[name].start(*composed.command(name))
        parts["server"].wait_for(lambda: composed.health(parts["server"]) == 0)
        parts["store"].wait_for(lambda: answers(f"http://127.0.0.1:{ports['store']}"))
        told.setups.append(parts["setup"].run(*composed.command("setup")))
        assert told.setups[0].code == 0, told.setups[0].err
        parts["worker"].start(*composed.command("worker"))
        photographs(two_pictures, ports["store"])
        password = f"ferflow:{API['FERFLOW_PASSWORD']}"
        served = Served(parts["server"].process, {"url": f"http://127.0.0.1:{ports['server']}", "password": password})
        told.without_password = Served(parts["server"].process, {"url": served.url}).call("GET", "/admin/version")[0]
        status, asked = served.submit("label-collection/nightly")
        assert status == 201, asked
        told.run = served.finished(asked["id"])
        _, told.run["logs"] = served.call("POST", "/logs/filter", {"logs": {"flow_run_id": {"any_": [asked["id"]]}}})
        for name in ("server", "worker", "scheduler", "dask-worker"):
            parts[name].wait_for(lambda part=parts[name]: composed.health(part) == 0)
            told.healthy[name] = 0
        told.verified = parts["setup"].run("python", "-m", "flows.cli.main", "verify", GIVEN["FERFLOW_LABELS"], "--json")
        told.setups.append(parts["setup"].run(*composed.command("setup")))
        told.automations = [one["name"] for one in served.call("POST", "/automations/filter", {})[1]]
        for name in ("worker", "server"):
            parts[name].stop()
        told.healthy["a server that is gone"] = composed.health(parts["server"])
        restore(database, base / "prefect.dump")
        parts["server"].environment["PREFECT_SERVER_DATABASE_NAME"] = "restored"
        parts["server"].start(*composed.command("server"))
        parts["server"].wait_for(lambda: composed.health(parts["server"]) == 0)
        served = Served(parts["server"].process, {"url": served.url, "password": password})
        told.restored_run = served.call("GET", f"/flow_runs/{asked['id']}")[1]
        told.restored_deployment = served.deployment("label-collection/nightly")
        parts["server"].stop()
        parts["server"].environment["PREFECT_SERVER_DATABASE_PASSWORD"] = "another"
        told.refused = parts["server"].run("python", "-m", "flows.cli.main", "up", "--port", 0)
    return told


def photographs(two_pictures, port):
    """Into the bucket that setup has made."""
    keys = {"key": KEYS["S3_ACCESS_KEY"], "secret": KEYS["S3_SECRET_KEY"]}
    fs = s3fs.S3FileSystem(
        **keys, endpoint_url=f"http://127.0.0.1:{port}", client_kwargs={"region_name": "us-east-1"}, skip_instance_cache=True
    )
    for picture in two_pictures.iterdir():
        fs.pipe_file(f"{GIVEN['FERFLOW_SOURCE']}/{picture.name}", picture.read_bytes())


def restore(database, file):
    """As docs/guides/deploy.md says."""
    database.run("pg_dump", "--format=custom", "--file", file, "prefect")
    database.run("createdb", "restored")
    database.run("pg_restore", "--exit-on-error", "--dbname=restored", file)


def test_setup_may_be_repeated(story):
    assert [ended.code for ended in story.setups] == [0, 0], story.setups[1].err
    assert len(story.automations) == len(set(story.automations)) >= 1


def test_the_night_as_it_was_deployed(story):
    assert story.run["state_type"] == "COMPLETED", "\n".join(line["message"] for line in story.run["logs"])
    params = story.run["parameters"]["params"]
    assert (params["source"], params["to"], params["purpose"]) == (GIVEN["FERFLOW_SOURCE"], GIVEN["FERFLOW_LABELS"], "a test")
    assert params["cluster"].startswith("tcp://")
    assert (story.verified.code, story.verified.json["problems"], story.verified.json["runs"]) == (0, [], 1)


def test_the_server_asks_for_the_password(story):
    assert story.without_password == 401


def test_health_checks_tell_who_is_there(story):
    assert story.healthy.pop("a server that is gone") != 0
    assert set(story.healthy.values()) == {0}


def test_what_was_restored_is_what_there_was(story):
    assert story.restored_run["state"]["type"] == "COMPLETED"
    assert story.restored_run["state"]["timestamp"] == story.run["state"]["timestamp"]
    (schedule,) = story.restored_deployment["schedules"]
    assert (schedule["active"], schedule["schedule"]["timezone"]) == (True, GIVEN["FERFLOW_TIMEZONE"])


def test_the_database_was_postgresql(story):
    databases = [file for part in story.parts.values() for file in part.folder.rglob("prefect.db")]
    assert databases == []


def test_a_database_that_refuses_is_told_in_one_line(story):
    assert story.refused.code == 1
    assert story.refused.line.startswith("ferflow: the Prefect API did not start: ")
    assert 'password authentication failed for user "prefect"' in story.refused.line


def test_no_log_holds_a_secret(story):
    for name, part in story.parts.items():
        said = part.log.read_text(errors="replace") if part.log.exists() else ""
        assert not [secret for secret in SECRETS if secret in said], name
    assert not [secret for secret in SECRETS if secret in json.dumps(story.run)]
