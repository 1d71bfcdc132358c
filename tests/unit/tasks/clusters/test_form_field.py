"""Processes of this machine: started early, pinned, adaptive, and gone at the end."""

import logging
import os
import stat
import threading
import time

import psutil
import pytest
from distributed import LocalCluster as DaskCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.errors import ClusterError, UsageError
from fer_core.planning.draft import LARGEST_SHARD, SMALLEST_SHARD, shard_size_for
from tasks.clusters import gpu, local
from tasks.clusters.address import ASSUMED_CONCURRENCY, AddressCluster
from tasks.clusters.base import Adaptive
from tasks.clusters.gpu import GpuCluster, chosen_gpus, visible_gpus
from tasks.clusters.kubernetes import KubernetesCluster
from tasks.clusters.local import LocalCluster, cores
from tasks.clusters.settings import ALLOCATION
from tasks.clusters.slurm import SlurmCluster
from tasks.execution.fan_out import fan_out
from tests.faults import odd_pictures


@pytest.fixture(autouse=True)
def dask_as_it_was():
    import dask

    with dask.config.set():
        yield
    logging.getLogger("distributed").setLevel(logging.NOTSET)


@given(st.integers(0, 10_000_000), st.integers(1, 500))
@settings(deadline=None, max_examples=100)
def test_shards_keep_every_worker_busy_within_bounds(images, workers):
    size = shard_size_for(images, workers)
    assert SMALLEST_SHARD <= size <= LARGEST_SHARD
    shards = -(-images // size)
    assert shards >= min(workers, images // SMALLEST_SHARD)


@given(st.integers(1, 10_000), st.integers(1, 64), st.integers(1, 8), st.none() | st.integers(1, 500))
@settings(deadline=None, max_examples=100)
def test_no_worker_is_started_without_a_shard(images, workers, threads, shard_size):
    spec = LocalCluster(processes=workers, threads=threads)
    shards = -(-images // (shard_size or shard_size_for(images, workers * threads)))
    assert spec.capped(images, shard_size).processes == min(workers, -(-shards // threads))
    between = spec.model_copy(update={"processes": Adaptive(minimum=1, maximum=workers)})
    assert between.capped(images, shard_size).processes == Adaptive(minimum=1, maximum=min(workers, -(-shards // threads)))


def test_how_many_shards_are_worked_on_at_a_time():
    slurm, pods = SlurmCluster(jobs=Adaptive(minimum=1, maximum=5), cores=4), Adaptive(minimum=2, maximum=3)
    assert LocalCluster().max_concurrency() == cores()
    assert LocalCluster(processes=3, threads=2).max_concurrency() == 6
    assert slurm.max_concurrency() == 20
    assert slurm.model_copy(update={"gpu": True}).max_concurrency() == 5
    assert KubernetesCluster(image="x", pods=pods).max_concurrency() == 3
    assert AddressCluster(address="tcp://host:1").max_concurrency() == 1
    assert AddressCluster(address="tcp://host:1").planning_concurrency() == ASSUMED_CONCURRENCY
    assert slurm.planning_concurrency() == slurm.max_concurrency()
    assert GpuCluster(gpus=2).max_concurrency() == 2
    assert [spec.needs() for spec in (slurm, GpuCluster(), KubernetesCluster(image="x", gpu=True))] == [{}, {"GPU": 1}, {"GPU": 1}]


def test_the_number_of_workers_is_for_processes_of_this_machine():
    assert LocalCluster(processes=3).with_workers(5) == LocalCluster(processes=5)
    assert LocalCluster(processes=3).with_workers(None) == LocalCluster(processes=3)
    for spec in (AddressCluster(address="tcp://host:1"), GpuCluster(), SlurmCluster()):
        assert spec.with_workers(None) is spec
        with pytest.raises(UsageError, match="--workers is for local clusters"):
            spec.with_workers(5)


def _loaded() -> list[str]:
    import sys

    return sorted({"prefect", "torch", "cv2", "distributed"} & sys.modules.keys())


def _allocation() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}


def test_local_workers_know_no_prefect_listen_at_home_and_end_with_the_block():
    two = LocalCluster(processes=2, threads=2)
    before = set(psutil.Process().children(recursive=True))
    with two.start_early(1000, 1), LocalCluster().open_client() as client:
        client.wait_for_workers(2, timeout=280)
        assert list(client.nthreads().values()) == [2, 2]
        loaded = client.run(_loaded)
        assert all("prefect" not in modules for modules in loaded.values())
        assert all(known == ALLOCATION for known in client.run(_allocation).values())
        processes = set(psutil.Process().children(recursive=True)) - before
        workers = [process for process in processes if "fork" in " ".join(process.cmdline())]
        assert len(workers) == 2
        for process in (psutil.Process(), *workers):
            listening = [found.laddr.ip for found in process.net_connections("inet") if found.status == psutil.CONN_LISTEN]
            assert set(listening) <= {"127.0.0.1", "::1"}
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 0
    assert not any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers)


def _wait_for_company(text: str) -> str:
    """As `odd_pictures.look`, once two processes have begun: as many as may be asked for."""
    import json
    from pathlib import Path

    folder = Path(json.loads(text)["config"]["root"]) / "company"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / str(os.getpid())).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.05)
    return odd_pictures.look(text)


def test_an_adaptive_cluster_grows_to_its_maximum_under_load_and_no_further(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "_warm", lambda client: None)
    between = LocalCluster(processes=Adaptive(minimum=1, maximum=2))
    seen, before = set(), set(psutil.Process().children(recursive=True))
    with between.open_client() as client:
        seen.add(len(client.nthreads()))
        jobs = odd_pictures.jobs(tmp_path, *[[f"a{number}"] for number in range(12)])
        receipts = fan_out(client, jobs, lambda _: seen.add(len(client.nthreads())), work=_wait_for_company)
        processes = set(psutil.Process().children(recursive=True)) - before
    assert len(odd_pictures.rows(tmp_path, receipts)) == 12
    assert min(seen) == 1
    assert max(seen) == 2
    assert len(list((tmp_path / "company").iterdir())) == 2
    assert not any(process.is_running() and "fork" in " ".join(process.cmdline()) for process in processes)


def _gpus_of(monkeypatch, folder, *uuids):
    """From now on this machine says that it has them."""
    folder.mkdir()
    command = folder / "nvidia-smi"
    command.write_text("#!/bin/sh\n" + "".join(f"echo {uuid}\n" for uuid in uuids))
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_are_those_that_are_there_and_may_be_seen(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == ()
    with pytest.raises(ClusterError, match=r"no GPU can be used on this machine \(nvidia-smi lists none\)$"):
        chosen_gpus(None)
    monkeypatch.undo()
    _gpus_of(monkeypatch, tmp_path / "bin", "GPU-a", "GPU-b")
    assert visible_gpus() == ("GPU-a", "GPU-b")
    assert chosen_gpus(1) == ("GPU-a",)
    with pytest.raises(ClusterError, match="3 GPUs are requested, and 2 can be used"):
        chosen_gpus(3)
    for said, seen in {"1": ("1",), "1,0": ("1", "0"), "0,-1,1": ("0",), "GPU-b": ("GPU-b",)}.items():
        assert visible_gpus({"CUDA_VISIBLE_DEVICES": said}) == seen
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ClusterError, match="some, and CUDA_VISIBLE_DEVICES is ''"):
        chosen_gpus(None)


def test_a_cluster_in_which_nothing_starts_leaves_no_thread():
    """Neither the scheduler's nor the client's, which share one."""
    before = set(threading.enumerate())
    quiet = {"processes": False, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with pytest.raises(TimeoutError):
        local.connected(DaskCluster(n_workers=0, **quiet, scheduler_kwargs={"dashboard_address": "127.0.0.1:0"}), start_seconds=0.01)
    assert not [thread for thread in threading.enumerate() if thread not in before and thread.name == "IO loop"]


def _device() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def test_each_gpu_has_a_process_of_its_own(monkeypatch, tmp_path):
    """On a machine that only says it has them. What PyTorch makes of that is the last thing to be looked at."""
    _gpus_of(monkeypatch, tmp_path / "bin", "GPU-a", "GPU-b")
    with monkeypatch.context() as patch:
        patch.setattr(gpu, "_check", lambda client: None)
        patch.setattr(local, "_warm", lambda client: None)
        with GpuCluster().start_early(1, None), GpuCluster().open_client() as client:
            client.wait_for_workers(2, timeout=280)
            assert sorted(client.run(_device).values()) == ["GPU-a", "GPU-b"]
            assert [worker["resources"] for worker in client.scheduler_info(-1)["workers"].values()] == [{"GPU": 1}] * 2
            jobs = odd_pictures.jobs(tmp_path, *[[f"a{number}"] for number in range(6)])
            receipts = fan_out(client, jobs, lambda _: None, work=odd_pictures.look, resources=GpuCluster().needs())
            assert len(odd_pictures.rows(tmp_path, receipts)) == 6
    assert os.environ.get("CUDA_VISIBLE_DEVICES") is None
    with pytest.raises(ClusterError, match="PyTorch cannot use the GPUs of this machine: "), GpuCluster(gpus=1).open_client():
        pass
