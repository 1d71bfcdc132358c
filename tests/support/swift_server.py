"""A production S3 server, OpenStack Swift, for as long as the tests run. It checks signatures and access rights.

Fixtures for conftest.py. Where Swift cannot be installed, the tests that need it are skipped with the reason. For repeated
runs, start it once, with `--region eu-test-1`, and set FERFLOW_TEST_SWIFT to the file with its first line.
"""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

START = Path(__file__).resolve().parents[2] / "deployments" / "swift" / "start.py"
REGION = "eu-test-1"
"""Not the default of clients."""
UNAVAILABLE = 3


@dataclass(frozen=True)
class Keys:
    """Of one user of the server."""

    access_key: str
    secret_key: str

    def environment(self) -> dict[str, str]:
        """As the usual variables give them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


@dataclass(frozen=True)
class Swift:
    """Where it is and who may use it."""

    endpoint: str
    domain: str
    """Behind a bucket's name in a host name."""
    writer: Keys
    """Owns the buckets."""
    reader: Keys
    """Reads those that are public."""

    def place(self) -> dict[str, str]:
        """Variables that name the server, without credentials."""
        return {"AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": REGION}

    def environment(self) -> dict[str, str]:
        """Variables of the writer."""
        return {**self.place(), **self.writer.environment()}


@pytest.fixture(scope="session")
def swift(tmp_path_factory):
    running = os.environ.get("FERFLOW_TEST_SWIFT")
    if running:
        yield told_by(Path(running).read_text())
        return
    folder = tmp_path_factory.mktemp("swift")
    words = [sys.executable, START, "--folder", folder, "--region", REGION, "--until-eof"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline()
        if not line:
            said = server.stderr.read().strip()
            assert server.wait() == UNAVAILABLE, said
            pytest.skip(f"no Swift here: {said}")
        yield told_by(line)
        server.stdin.close()
        server.wait(240)


def told_by(line):
    told = json.loads(line)
    return Swift(told["endpoint"], told["domain"], Keys(**told["writer"]), Keys(**told["reader"]))


@pytest.fixture
def swift_root(swift, monkeypatch):
    """URL of an empty prefix in a new bucket, with the writer's credentials in the environment."""
    use(monkeypatch, swift.environment())
    yield f"s3://{new_bucket()}/some/root"
    forget()


def use(monkeypatch, environment: Mapping[str, str]) -> None:
    """Let this process reach S3 by these variables alone."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    forget()


def forget() -> None:
    """What this process knows of S3."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()


def new_bucket(access: str = "private") -> str:
    """Name of a bucket that was not there before. access: `private`, or `public-read`."""
    from fer_core.storage.uri import split

    name = f"swift-{secrets.token_hex(6)}"
    fs, _ = split(f"s3://{name}")
    fs.call_s3("create_bucket", Bucket=name, ACL=access)
    return name
