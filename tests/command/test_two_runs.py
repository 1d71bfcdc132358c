"""Runs that meet on one root, as real processes; and a flow run that is tried again."""

import json
import signal
import subprocess
import sys
import time

import duckdb

from fer_core.commit.lease import live_claims
from fer_core.commit.publish import committed_runs
from fer_core.commit.verify import verify
from fer_core.storage.store import open_store
from flows.cli.main import main

RETRIED = """
import json, sys
from flows.server.prefect_api import prefect_api
from flows.server.session import session

attempts = []

with session(), prefect_api() as api, api.ready():
    import flows.label
    from fer_core.errors import StoreError
    from flows.label_params import LabelParams

    whole = flows.label.commit_run

    def commit_run(config, labelled, held):
        attempts.append((config.run_id, labelled.resumed))
        if len(attempts) == 1:
            raise StoreError("cannot write: try again")
        return whole(config, labelled, held)

    flows.label.commit_run = commit_run
    params = LabelParams(source=sys.argv[1], to=sys.argv[2], workers=1, shard_size=1)
    summary = flows.label.label_collection.with_options(retries=1, retry_delay_seconds=2)(params)
print(json.dumps({"attempts": attempts, "run_id": summary.manifest.run_id, "images": summary.images, "resumed": summary.resumed}))
"""


def wait_for(condition, process):
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_second_run_is_refused_and_a_killed_one_is_in_nobodys_way(on_server, labelled, two_pictures, tmp_path, capfd):
    """One run at work; a second is refused; the first is killed; a third goes on at once and labels each image."""
    commands, root = on_server, tmp_path / "labels"
    store = open_store(str(root))
    words = ["label", two_pictures, "--to", root, "--workers", 1, "--shard-size", 1]
    first = commands.start(*words, "--run-id", "one")
    wait_for(lambda: store.list_files("_staging/one"), first)
    first.send_signal(signal.SIGSTOP)  # or it might end before the second has begun

    second = commands.run(*words, "--run-id", "two", "--json")
    assert second.code == 1
    assert f"another process is writing to {root} (run one, process {first.pid} on" in second.line
    assert "wait until it has ended" in second.json["error"]
    assert not store.exists("_meta/runs/two/plan.parquet")

    done = main(["label", str(labelled.source), "--to", str(labelled.root), "--resume", "first", "--json"])
    assert done == 0, f"what is committed needs no lease: {capfd.readouterr().err}"

    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=280)
    third = commands.run(*words, "--run-id", "three", "--json")
    assert third.code == 0, third.err
    assert third.json["images"]["labeled"] == 2
    assert committed_runs(store) == ["three"]
    assert live_claims(store) == []
    seen = duckdb.connect().sql(f"select count(*), count(distinct image_uri), min(run_id) from '{root}/images/**/*.parquet'").fetchall()
    assert seen == [(2, 2, "three")]
    assert verify(store).problems == ()
    commands.wait_until_gone()


def test_a_retry_of_the_flow_goes_on_where_it_stopped(commands, prefect_url, two_pictures, tmp_path):
    words = [sys.executable, "-c", RETRIED, str(two_pictures), str(tmp_path / "labels")]
    environment = commands.environment({"PREFECT_API_URL": prefect_url})
    ended = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=280)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout.splitlines()[-1])
    assert [run_id for run_id, _ in said["attempts"]] == [said["run_id"]] * 2
    assert [resumed for _, resumed in said["attempts"]] == [0, 2]
    assert said["images"] == said["resumed"] == 2
    assert committed_runs(open_store(str(tmp_path / "labels"))) == [said["run_id"]]
    # what is written down of the failure, for the retry, is no pickle
    assert all(json.loads(file.read_text()) for file in (commands.home / ".prefect" / "storage").iterdir())
    commands.wait_until_gone()
