"""Nothing leaves the machine, and nothing is left in the home that could: as strace sees it, without what hushes libraries elsewhere."""

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from distributed import Client

from fer_core.isolation import SILENT
from flows.server import prefect_api
from tasks.execution.worker_entrypoint import warm_up
from tests.support.dask_parts import DaskParts, WorkerPlace
from tests.support.foreign_folder import foreign_folder
from tests.support.made_faces import QUICK, made_faceset
from tests.support.native_trace import Trace, needs_strace
from tests.support.processes import REPOSITORY, files_below
from tests.support.served import up

PREFECT = ("ferflow-start.lock", "memo_store.toml", "prefect.db", "prefect.db-shm", "prefect.db-wal")

LIBRARY = """
import sys
from fer_core.align.aligner import align
from fer_core.decode.decoder import decode
from fer_core.detect.registry import build
from fer_core.faceset.importers.raw import LIMITS
from fer_core.predict.predictor import load_predictor

pixels = decode(open(sys.argv[1], "rb").read(), LIMITS).pixels
faces = build("builtin").detect(pixels)
assert len(faces) == 1
assert load_predictor("tiny").probabilities(align(pixels, faces)).shape == (1, 8)
"""


@pytest.fixture
def trace(tmp_path):
    needs_strace()
    return Trace(tmp_path / "trace")


def test_a_whole_run(labelled):
    """Every process of it was seen, and none as much as looked a name up."""
    assert labelled.ended.code == 0, labelled.ended.err
    assert labelled.new_in_home <= {f".prefect/{name}" for name in PREFECT}
    needs_strace()
    for process in ("ferflow", "uvicorn", "multiprocessing.spawn", "flows.server.watchdog"):
        assert process in labelled.trace.started(), f"{process} ran unwatched"
    assert labelled.trace.outside() == []


def test_a_dry_run(commands, two_pictures, tmp_path, trace):
    ended = commands.run("label", two_pictures, "--to", tmp_path / "labels", "--dry-run", trace=trace)
    assert ended.code == 0, ended.err
    assert trace.outside() == []
    assert files_below(commands.home) == frozenset()


def test_training(commands, tmp_path, trace):
    faces, config = made_faceset(tmp_path / "faces", {"train": 96, "valid": 16, "test": 16}), tmp_path / "quick.json"
    config.write_text(json.dumps(replace(QUICK, epochs=1).to_json()))
    ended = commands.run("train", faces, "--to", tmp_path / "models", "--config", config, "--device", "cpu", trace=trace)
    assert ended.code == 0, ended.err
    assert trace.outside() == []
    assert all(file.startswith(".cache/matplotlib/fontlist") for file in files_below(commands.home))


def test_a_dask_worker_by_itself(commands, tmp_path, trace):
    """As on another machine: nothing but Dask's own command has set it up, typed in a folder of photographs."""
    foreign = foreign_folder(tmp_path)
    as_the_pages_say = {**commands.environment(), "PYTHONSAFEPATH": "1"}
    parts = DaskParts(tmp_path / "dask", worker=WorkerPlace(as_the_pages_say, foreign.path, trace))
    try:
        parts.worker("--host", "127.0.0.1")  # else it asks the system for its address, by a socket towards 8.8.8.8 that sends nothing
        with Client(parts.address) as client:
            client.submit(warm_up).result(timeout=120)
    finally:
        parts.close()
    assert "multiprocessing.spawn" in trace.started()
    assert trace.outside() == []
    assert files_below(commands.home) == frozenset()
    assert foreign.marks() == []


def test_the_library(commands, two_pictures, trace):
    words = trace.of([sys.executable, "-P", "-c", LIBRARY, str(two_pictures / "astronaut.png")])
    loud = commands.environment({"ORT_DISABLE_TELEMETRY": "0"})
    subprocess.run(words, env=loud, cwd=commands.home, check=True, timeout=120)
    assert trace.outside() == []
    assert files_below(commands.home) == frozenset()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_everything_that_serves(commands, two_pictures, tmp_path, trace):
    """`ferflow up`, started in a folder of photographs with write permission for others, and a run of it."""
    foreign = foreign_folder(tmp_path)
    options = ("--source", two_pictures, "--to", tmp_path / "labels")
    with up(commands, foreign.path, *options, env={"ORT_DISABLE_TELEMETRY": "0"}, trace=trace) as served:
        status, run = served.submit("label-collection/nightly", workers=1)
        assert status == 201, run
        assert served.finished(run["id"])["state_type"] == "COMPLETED"
        served.process.terminate()
        assert served.process.wait(timeout=60) == 0
    commands.wait_until_gone(30)
    for process in ("ferflow", "uvicorn", "flows.server.serve", "prefect.engine", "multiprocessing.spawn", "flows.server.watchdog"):
        assert process in trace.started(), f"{process} ran unwatched"
    assert trace.outside() == []
    assert foreign.marks() == []
    known = ("ferflow-", "storage", *PREFECT)
    assert [file for file in files_below(commands.home) if not file.removeprefix(".prefect/").startswith(known)] == []


def test_the_tracer_sees_what_it_is_there_for(commands, trace):
    """Native code, which no hook of Python's sees: the resolver's own question."""
    subprocess.run(trace.of(["getent", "ahosts", "ferflow.invalid"]), env=commands.environment(), check=False, timeout=60)
    assert trace.outside()


@pytest.mark.parametrize("name", [*SILENT, *prefect_api.QUIET])
def test_the_promise_is_not_a_default(name, monkeypatch):
    from fer_core.isolation import silence_libraries

    monkeypatch.setenv(name, "whatever the shell says")
    silence_libraries()
    prefect_api.configure(verbose=False)
    import os

    assert os.environ[name] == {**SILENT, **prefect_api.QUIET}[name]


def test_whatever_starts_by_other_means_is_told_as_well():
    """Images, the services and deployments of a team, and pip's users who copy from the pages."""
    for place in (
        "Makefile",
        "deployments/prefect.yaml",
        "deployments/s3-work-pool.json",
        "deployments/docker/cpu.Dockerfile",
        "deployments/docker/cuda.Dockerfile",
        "docs/guides/deploy.md",
    ):
        assert "ORT_DISABLE_TELEMETRY" in (REPOSITORY / place).read_text("utf-8"), place


def test_onnx_runtime_is_loaded_below_the_domain_alone():
    """Its environment is set where `fer_core` is imported. A script must import that, or set the environment, before."""
    for file in (*REPOSITORY.glob("benchmarks/**/*.py"), *REPOSITORY.glob("deployments/**/*.py")):
        text = file.read_text("utf-8")
        imported = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(text))
            for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""])
        }
        if imported & {"onnxruntime", "insightface"}:
            before = re.split(r"^from (?:onnxruntime|insightface)", text, flags=re.MULTILINE)[0]
            assert "ORT_DISABLE_TELEMETRY" in text or "import fer_core" in before, file
