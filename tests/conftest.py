"""Fixtures for all tests. Storage is tried in four kinds: local disk, memory, S3 as a server in this process speaks it, and S3 as a
production server does.

Property tests try the same examples in every run: a change is judged by what it changes. `make test-long` searches for other ones.
"""

# ruff: noqa: E402 (what is imported reads the variables that are set before)

import itertools
import os
import sys

# The tests run in one process a core. Networks that take several threads each then wait for one another, and add in another order.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import pytest
from hypothesis import HealthCheck, settings

from tests.support.file_server import home  # noqa: F401  (a fixture)
from tests.support.orchestrator import prefect_database, prefect_server_home, prefect_url  # noqa: F401  (fixtures)
from tests.support.prepared_sets import here  # noqa: F401  (a fixture)
from tests.support.processes import call, commands, labelled, on_server, prepared, two_pictures  # noqa: F401  (fixtures)
from tests.support.swift_server import swift, swift_root  # noqa: F401  (fixtures)

# What depends on how busy the machine is (deadlines, the check for slow examples) or on what was run before (the database) is off in both.
_ANYWHERE = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("same", derandomize=True, **_ANYWHERE)
settings.register_profile("search", derandomize=False, print_blob=True, **_ANYWHERE)
settings.load_profile("same")  # before pytest reads `--hypothesis-profile`

_NUMBERS = itertools.count()
_SAFE_PATH = "PYTHONSAFEPATH" in os.environ
_WHOLE_JOBS = {"labelled", "on_server", "prepared", "prefect_database", "prefect_url"}
"""Fixtures of tests that run whole jobs."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than cores: tests wait for servers, workers and commands about a third of the time."""
    del config
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run whole jobs go first: at the end, no core is left with minutes of work while the others have none."""
    first = {item.path for item in items if isinstance(item, pytest.Function) and _is_of_whole_jobs(item)}
    items.sort(key=lambda item: item.path not in first)


def _is_of_whole_jobs(item: pytest.Function) -> bool:
    return item.get_closest_marker("slow") is not None or not _WHOLE_JOBS.isdisjoint(item.fixturenames)


@pytest.fixture(autouse=True)
def process_as_it_was():
    """Dask gives its workers' environment to the process that starts them, commands set its umask, and labelling in it the threads of
    torch, which decide the order of sums: no other test is to see any of it."""
    if not _SAFE_PATH:  # a cluster that a whole module shares was started before its first test
        os.environ.pop("PYTHONSAFEPATH", None)
    environment, umask = dict(os.environ), os.umask(0o022)
    os.umask(umask)
    yield
    os.umask(umask)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items():
        if os.environ.get(name) != value:  # native threads may be reading the others
            os.environ[name] = value


@pytest.fixture(scope="session")
def s3_endpoint():
    """Address of an S3 server that lives as long as the tests."""
    pytest.importorskip("moto", reason="the S3 server for tests is not installed")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3_root(s3_endpoint, monkeypatch):
    """URL of an empty prefix in a new bucket, with credentials in the environment as a user would have them."""
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"bucket-{next(_NUMBERS)}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(bucket)
    yield f"s3://{bucket}/some/root"
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(params=["local", "memory", "s3", "swift"])
def any_root(request, tmp_path):
    """URL of an empty root in each kind of storage."""
    if request.param == "local":
        return str(tmp_path / "root")
    if request.param == "memory":
        return f"memory://memory-{next(_NUMBERS)}/some/root"
    return request.getfixturevalue(f"{request.param}_root")
