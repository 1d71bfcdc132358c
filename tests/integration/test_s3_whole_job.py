"""The whole job with photographs and tables in S3: two nights, then whatever reads them. No secret is left anywhere."""

import json
import os
import secrets
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import s3fs

from tests.support.orchestrator import with_database
from tests.support.processes import REPOSITORY, Commands, Ended

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a fixture does all the work

MARKER = "MARKER/secret+MARKER/secret"
PHOTOS = "photos of [2026] 100%"
LOOKS = 10
"""At each process: a command line does not change after its program has begun."""
FIRST, SECOND = ("a b/astronaut.png", "t1.jpg"), "a b/ü %41#?.png"
ONE_AFTER_ANOTHER = """
import json, os, sys
from pathlib import Path
from flows.cli.main import main

folder, codes = Path(sys.argv[1]), {}
for name, words in json.loads(sys.stdin.read()).items():
    for stream in (1, 2):
        os.dup2(os.open(folder / f"{name}.{stream}", os.O_WRONLY | os.O_CREAT, 0o600), stream)
    codes[name] = main(words)
    sys.stdout.flush()
    sys.stderr.flush()
(folder / "codes.json").write_text(json.dumps(codes))
"""


@dataclass
class Place:
    """An S3 server with a bucket for the job, and who works there."""

    fs: s3fs.S3FileSystem
    bucket: str
    variables: dict[str, str]
    """That name the server, without credentials, and give Prefect time."""
    access_key: str
    secret_key: str

    @property
    def source(self) -> str:
        return f"s3://{self.bucket}/{PHOTOS}"

    @property
    def root(self) -> str:
        return f"s3://{self.bucket}/labels"

    @property
    def keys(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


@dataclass
class Nights:
    """What two nights left."""

    place: Place
    homes: tuple[Path, ...]
    """Where Prefect keeps anything: of the commands, one of which has a server of its own, and of the server that the others use."""
    ended: dict[str, Ended]
    command_lines: set[str]


class Watcher(threading.Thread):
    """Notes the command line of every process that carries a tag."""

    def __init__(self, tag: str) -> None:
        super().__init__(daemon=True)
        self.tag, self.seen, self.ended = tag, set(), threading.Event()
        self._looks: Counter[int] = Counter()

    def run(self) -> None:
        while not self.ended.wait(0.2):
            for pid in psutil.pids():
                self._looks[pid] += 1
                if self._looks[pid] > LOOKS:
                    continue
                with suppress(psutil.Error, OSError):
                    process = psutil.Process(pid)
                    if process.environ().get("FERFLOW_TEST") == self.tag:
                        self.seen.add(" ".join(process.cmdline()))


@pytest.fixture(scope="module", params=["moto", pytest.param("swift", marks=pytest.mark.long)])
def place(request):
    if request.param == "moto":
        variables = {"AWS_ENDPOINT_URL": request.getfixturevalue("s3_endpoint"), "AWS_REGION": "us-east-1"}
        access_key, secret_key = "AKIAEXAMPLE", MARKER
    else:
        swift = request.getfixturevalue("swift")
        variables, access_key, secret_key = swift.place(), swift.writer.access_key, swift.writer.secret_key
    variables["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "400"  # a busy machine is no failure
    region = {"region_name": variables["AWS_REGION"]}
    fs = s3fs.S3FileSystem(
        key=access_key, secret=secret_key, endpoint_url=variables["AWS_ENDPOINT_URL"], client_kwargs=region, use_listings_cache=False
    )
    bucket = f"whole-job-{secrets.token_hex(4)}"
    fs.call_s3("create_bucket", Bucket=bucket)
    return Place(fs, bucket, variables, access_key, secret_key)


@pytest.fixture(scope="module")
def nights(place, prefect_database, prefect_url, prefect_server_home, two_pictures, tmp_path_factory):
    home = with_database(tmp_path_factory.mktemp("s3 home"), prefect_database)
    commands = Commands(home)
    run = partial(commands.run, timeout=500)
    watcher = Watcher(commands.tag)
    watcher.start()
    for name in FIRST:
        place.fs.pipe_file(f"{place.bucket}/{PHOTOS}/{name}", (two_pictures / Path(name).name).read_bytes())
    with_keys = {**place.variables, **place.keys}
    label = ["label", place.source, "--to", place.root, "--workers", 1, "--shard-size", 1, "--json"]
    ended = {"first": run(*label, "--run-id", "first", "--verbose", env=with_profile(place, home))}
    place.fs.pipe_file(f"{place.bucket}/{PHOTOS}/{SECOND}", (two_pictures / "astronaut.png").read_bytes())
    if place.secret_key == MARKER:
        ended["second"] = run(*label, "--run-id", "second", env={**with_keys, "PREFECT_API_URL": prefect_url})
    else:  # this server would tell a wrong key
        ended["second"] = by_deployment(place, commands)
    reading = {
        "third": [*label, "--dry-run"],
        "verify": ["verify", place.root, "--json"],
        "current": ["export", "current", place.root, "--to", f"s3://{place.bucket}/current", "--json"],
        "delta": ["export", "delta", place.root, "--json"],
    }
    ended |= in_one_process(reading, commands, with_keys, tmp_path_factory.mktemp("s3 reading"))
    watcher.ended.set()
    watcher.join()
    homes = (home, prefect_server_home) if place.secret_key == MARKER else (home,)
    return Nights(place, homes, ended, watcher.seen)


def in_one_process(commands_of, commands, env, folder):
    """Commands one after another, each with files of its own for its two streams."""
    given = {name: [str(word) for word in words] for name, words in commands_of.items()}
    words = [sys.executable, "-c", ONE_AFTER_ANOTHER, str(folder)]
    done = subprocess.run(
        words, input=json.dumps(given), env=commands.environment(env), cwd=commands.home, text=True, check=True, timeout=500
    )
    assert done.returncode == 0
    codes = json.loads((folder / "codes.json").read_text())
    return {name: Ended(codes[name], *((folder / f"{name}.{stream}").read_text() for stream in (1, 2))) for name in given}


def with_profile(place, home):
    """Credentials in a file of the home, and a variable that names the profile."""
    (home / ".aws").mkdir()
    (home / ".aws" / "credentials").write_text(
        f"[nightly]\naws_access_key_id = {place.access_key}\naws_secret_access_key = {place.secret_key}\n"
    )
    return {**place.variables, "AWS_PROFILE": "nightly"}


def by_deployment(place, commands):
    """The second night, as a worker runs it whose work pool names blocks."""
    given = {
        "blocks": {"s3-access-key": place.access_key, "s3-secret-key": place.secret_key},
        "variables": place.variables,
        "params": {"source": place.source, "to": place.root, "run_id": "second", "cluster": "local:2", "shard_size": 1},
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.deployed"],
        input=json.dumps(given),
        env=commands.environment(place.variables),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def rows(place, name):
    """A table of the root, as readers see it."""
    files = [file for file in place.fs.find(f"{place.bucket}/labels/{name}") if file.endswith(".parquet")]
    return [row for file in files for row in pq.read_table(BytesIO(place.fs.cat_file(file))).to_pylist()]


def test_both_nights_are_labelled_each_image_once(nights):
    first, second = nights.ended["first"], nights.ended["second"]
    assert first.code == second.code == 0, first.err + second.err
    assert second.out.splitlines()[-1].startswith(("COMPLETED", "{")), second.out
    assert first.json["images"]["labeled"] == first.json["listed"] == 2
    found = {(row["image_uri"], row["run_id"], row["status"]) for row in rows(nights.place, "images")}
    uris = [f"{nights.place.source}/{name}" for name in (*FIRST, SECOND)]
    assert found == {(uris[0], "first", "labeled"), (uris[1], "first", "labeled"), (uris[2], "second", "labeled")}
    assert [row["image_uri"] for row in rows(nights.place, "labels")].count(uris[2]) == 1
    planned = nights.ended["third"].json
    assert (planned["listed"], planned["unchanged"], planned["to_read"]) == (3, 3, 0)


def test_everything_that_reads_the_tables_reads_them_there(nights):
    ended = nights.ended
    assert (ended["verify"].code, ended["verify"].json["problems"]) == (0, []), ended["verify"].err
    assert ended["verify"].json["runs"] == 2
    labels = rows(nights.place, "labels")
    assert ended["current"].code == 0, ended["current"].err
    assert ended["current"].json["faces"] == len(labels)
    written = pq.read_table(BytesIO(nights.place.fs.cat_file(ended["current"].json["file"])))
    assert written.num_rows == len(labels)
    assert (ended["delta"].code, ended["delta"].json.get("version")) == (0, 1), ended["delta"].err


def test_nothing_is_left_in_the_staging_area(nights):
    left = [file for file in nights.place.fs.find(f"{nights.place.bucket}/labels") if "/_staging/" in file or "/leases/" in file]
    assert left == []


def test_no_secret_is_printed_stored_or_shown(nights):
    secret = nights.place.secret_key
    for name, ended in nights.ended.items():
        assert secret not in ended.out + ended.err, name
    assert nights.command_lines
    assert not [line for line in nights.command_lines if secret in line]
    files = [file for home in nights.homes for file in home.rglob("*") if file.is_file() and file.parent.name != ".aws"]
    assert [file.name for file in files].count("prefect.db") == len(nights.homes)
    assert [str(file) for file in files if secret.encode() in file.read_bytes()] == []
    objects = nights.place.fs.find(f"{nights.place.bucket}/labels")
    assert any(file.endswith("manifest.json") for file in objects)
    for file in objects:
        data = nights.place.fs.cat_file(file)
        text = repr(data)
        if file.endswith(".parquet"):
            table = pq.read_table(BytesIO(data))
            text += repr(table.to_pylist()) + repr(table.schema.metadata)
        assert secret not in text, file


def test_the_search_for_secrets_would_find_one(nights):
    """What is no secret is there to be found."""
    for home in nights.homes:
        stored = b"".join(file.read_bytes() for file in home.rglob("prefect.db*"))
        assert nights.place.root.encode() in stored
        assert os.fsencode(nights.place.source) in stored
