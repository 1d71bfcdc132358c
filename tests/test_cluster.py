import logging
import time

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ClusterError, UsageError
from tasks.cluster import ClusterSpec, EarlyCluster, cores, open_client, starting_early, workers_for
from tasks.draft import LARGEST_SHARD, SMALLEST_SHARD, shard_size_for


def test_specs_are_understood():
    assert ClusterSpec.parse("local") == ClusterSpec(address=None, workers=cores())
    assert ClusterSpec.parse("local:3").workers == 3
    assert ClusterSpec.parse("local:3", 5).workers == 5
    assert ClusterSpec.parse("tcp://scheduler:8786/").address == "tcp://scheduler:8786"
    assert ClusterSpec.parse("tls://10.0.0.1:8786").address == "tls://10.0.0.1:8786"


@pytest.mark.parametrize(
    "spec", ["", "local:", "local:0", "local:x", "dask", "tcp://", "tcp://host", "http://host:1", "tcp://me:word@host:1"]
)
def test_other_specs_are_wrong_use(spec):
    with pytest.raises(UsageError, match="a cluster is local"):
        ClusterSpec.parse(spec)


@given(st.integers(0, 10_000_000), st.integers(1, 500))
@settings(deadline=None, max_examples=100)
def test_shards_keep_every_worker_busy_within_bounds(images, workers):
    size = shard_size_for(images, workers)
    assert SMALLEST_SHARD <= size <= LARGEST_SHARD
    shards = -(-images // size)
    assert shards >= min(workers, images // SMALLEST_SHARD)


@given(st.integers(1, 10_000), st.integers(1, 64), st.none() | st.integers(1, 500))
@settings(deadline=None, max_examples=100)
def test_no_worker_is_started_without_a_shard(images, workers, shard_size):
    count = workers_for(ClusterSpec(address=None, workers=workers), images, shard_size)
    shards = -(-images // (shard_size or shard_size_for(images, workers)))
    assert count == min(workers, shards)


def _loaded() -> list[str]:
    import sys

    return sorted({"prefect", "torch", "cv2", "distributed"} & sys.modules.keys())


def test_local_workers_know_no_prefect_listen_at_home_and_end_at_once():
    with starting_early(2), open_client(ClusterSpec(address=None, workers=2)) as client:
        assert len(client.nthreads()) in (1, 2)
        client.wait_for_workers(2, timeout=30)
        loaded = client.run(_loaded)
        assert all("prefect" not in modules for modules in loaded.values())
        processes = psutil.Process().children(recursive=True)
        workers = [process for process in processes if "fork" in " ".join(process.cmdline())]
        assert len(workers) == 2
        for process in (psutil.Process(), *workers):
            listening = [found.laddr.ip for found in process.net_connections("inet") if found.status == psutil.CONN_LISTEN]
            assert set(listening) <= {"127.0.0.1", "::1"}
        started = time.monotonic()
    assert time.monotonic() - started < 5  # 0.1 s on an idle machine
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch):
    monkeypatch.setattr("tasks.cluster.CONNECT_SECONDS", 1)
    started = time.monotonic()
    with (
        pytest.raises(ClusterError, match="no Dask scheduler answers"),
        open_client(ClusterSpec.parse("tcp://127.0.0.1:9")),
    ):
        pass
    assert time.monotonic() - started < 15


def test_a_running_scheduler_is_used_and_left_running(monkeypatch):
    cluster = EarlyCluster(1)
    try:
        address = cluster.client().scheduler.address
        with open_client(ClusterSpec.parse(address)) as client:
            assert client.submit(sum, [1, 2]).result() == 3
        assert cluster.client().submit(sum, [3, 4]).result() == 7
        monkeypatch.setattr("tasks.cluster.release", _another_release)
        with pytest.raises(ClusterError, match="install the same release on both"), open_client(ClusterSpec.parse(address)):
            pass
    finally:
        cluster.stop()
        logging.getLogger("distributed").setLevel(logging.NOTSET)


def _another_release() -> dict[str, str | None]:
    import multiprocessing

    ours = multiprocessing.parent_process() is None
    return {"ferflow": "9.9" if ours else "0.1", "python": "3.11"}
