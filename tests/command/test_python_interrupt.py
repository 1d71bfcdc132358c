"""Ctrl-C in a script or notebook that calls `read_labels` or `label_images`: it arrives at once, whatever they wait for."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

from fer_core.storage.paths import manifest_file
from fer_core.storage.store import open_store
from tests.support import fakes

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 120
COMPUTING_SECONDS = 0.5
"""Of CPU after the imports: the query runs by then."""
READ = """
import sys
import duckdb, pyarrow.dataset
from fer_core import read_labels
print("ready", flush=True)
try:
    read_labels(sys.argv[1], current=False, columns=["confidence"])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""
LABEL = """
import sys, warnings
from fer_core import Labeler
with Labeler(detector="builtin") as labeler, warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print("ready", flush=True)
    rows = labeler.label(["s3://bucket/a.jpg"], progress=False)
    print(len(rows), [str(one.message) for one in said if "interrupted" in str(one.message)], flush=True)
"""


@pytest.fixture
def begin():
    """Starts a script, which has said that it is ready; it is killed at the end of the test."""
    begun = []

    def started(code, *words, **environment):
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, env={**os.environ, **environment}
        )
        begun.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield started
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture
def silent():
    """A server that accepts requests and never answers, and the environment in which it is the object store."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        where = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}", "AWS_DEFAULT_REGION": "us-east-1"}
        yield server, {**where, "AWS_ACCESS_KEY_ID": "a-user", "AWS_SECRET_ACCESS_KEY": "something"}


def test_read_labels_while_an_object_store_does_not_answer(begin, silent):
    server, store = silent
    process = begin(READ, "s3://bucket/labels", **store)
    asked, _ = server.accept()  # a request is under way
    with asked:
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"


def test_label_images_while_an_object_store_does_not_answer(begin, silent):
    server, store = silent
    process = begin(LABEL, **store)
    asked, _ = server.accept()
    with asked:
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "0 ['interrupted after 0 of 1 images; the rows are those of these images']\n"


def test_read_labels_while_rows_are_sorted(begin, tmp_path):
    """One part, many times in its manifest, stands for a root of fifteen million faces."""
    photos = fakes.write_pictures(tmp_path / "photos", [1, 2])
    manifest = fakes.label(fakes.config(tmp_path / "root"), fakes.refs(photos))
    root, part = open_store(str(tmp_path / "root")), manifest.parts_of("labels")[0]
    rows = pq.read_table(root.url(part.path), partitioning=None)
    pq.write_table(rows.take(np.zeros(300_000, np.int64)), root.url(part.path))
    root.write_bytes(manifest_file("run-a"), replace(manifest, parts=(part,) * 50).to_bytes())
    process = begin(READ, root.url())
    running, end = psutil.Process(process.pid), time.monotonic() + PATIENCE
    before = running.cpu_times().user
    while running.cpu_times().user < before + COMPUTING_SECONDS:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    assert process.wait(PATIENCE) == 0
