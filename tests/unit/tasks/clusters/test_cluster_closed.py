"""Who reaches a Dask scheduler or worker runs code as its owner. Those of a local job accept their own certificate and nothing else."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys

import dask
import distributed
import psutil
import pytest

from tasks.clusters.local import LocalCluster
from tasks.clusters.settings import settings
from tests.support import second_user


@pytest.fixture(autouse=True)
def loggers_as_they_were():
    yield
    logging.getLogger("distributed").setLevel(logging.NOTSET)


def _ports(processes: list[psutil.Process]) -> set[int]:
    found = (line for process in processes for line in process.net_connections("inet") if line.status == psutil.CONN_LISTEN)
    return {line.laddr.port for line in found}


def _tried(ports: set[int]) -> dict[str, dict[str, object]]:
    return json.loads(second_user.run("tests.support.foreign_dask", *ports))


def test_another_user_reaches_neither_scheduler_nor_worker_nor_their_pages():
    before = _ports([psutil.Process()])
    known = set(psutil.Process().children(recursive=True))
    with LocalCluster(processes=1).open_client() as client:
        assert client.scheduler.address.startswith("tls://")
        assert all(address.startswith("tls://") for address in client.nthreads())
        children = [child for child in psutil.Process().children(recursive=True) if child not in known]
        ports = _ports([psutil.Process(), *children]) - before
        tried = _tried(ports)
        security = client.security
        shown = "\n".join("\n".join((*child.cmdline(), *child.environ().values())) for child in children)
    assert len(ports) >= 4  # of the scheduler, the nanny, the worker, and HTTP
    assert {(one["tcp"], one["tls"]) for one in tried.values()} == {(None, None)}
    assert {page for one in tried.values() for page in one["pages"]} <= {"/health", "/sitemap.json"}  # that it is well; these two paths
    assert "PRIVATE KEY" in security.tls_client_key
    assert "PRIVATE" not in shown
    assert security.tls_client_key.splitlines()[1] not in shown


def test_what_it_would_do_where_nothing_keeps_it_out():
    """A scheduler as it was started before: the stranger's code runs, and pages show tasks."""
    given = {"processes": False, "protocol": "tcp://", "dashboard_address": None, "silence_logs": logging.CRITICAL}
    usual = {"distributed.scheduler.http.routes": ["distributed.http.scheduler.info", "distributed.http.health"]}
    with (
        dask.config.set(usual),
        distributed.LocalCluster(n_workers=1, **given, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"}) as cluster,
    ):
        tried = _tried({int(cluster.scheduler_address.rpartition(":")[2]), cluster.scheduler.http_server.port})
    assert os.geteuid() in {one["tcp"] for one in tried.values()}
    assert "/info/main/workers.html" in {page for one in tried.values() for page in one["pages"]}


def test_one_word_is_all_that_http_says_wherever_ferflow_starts_dask():
    assert {name: value for name, value in settings().items() if "http" in name} == {
        "distributed.scheduler.http.routes": ["distributed.http.health"],
        "distributed.worker.http.routes": ["distributed.http.health"],
    }


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_a_key_touches_the_disk_only_where_no_other_user_looks(tmp_path):
    """OpenSSL takes a certificate from a file: one in a folder of its own, which is gone when it is read."""
    made = "import os; os.umask(0o022); from tasks.clusters.certificate import ephemeral_tls; ephemeral_tls().get_listen_args('worker')"
    words = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=openat,open,mkdir,mkdirat",
        "-o",
        str(tmp_path / "calls"),
        sys.executable,
        "-c",
        made,
    ]
    subprocess.run(words, check=True, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True)
    calls = (tmp_path / "calls").read_text()
    written = re.findall(r'open(?:at)?\([^"]*"([^"]+)", [^)]*O_WRONLY[^)]*', calls)
    keys = [path for path in written if path.endswith((".pem", ".crt"))]
    assert len(keys) == 2
    for path in keys:
        assert re.search(rf'mkdir(?:at)?\([^"]*"{re.escape(os.path.dirname(path))}", 0700\)', calls)
        assert not os.path.exists(os.path.dirname(path))
