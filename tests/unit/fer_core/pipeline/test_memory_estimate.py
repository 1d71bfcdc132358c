"""The memory that a run is checked against is enough for real pictures, and grows with what the run allows."""

from pathlib import Path

import pytest

from benchmarks.memory.worker_memory import measured
from fer_core.decode.decode_prefetch import PIXELS_AHEAD
from fer_core.pipeline.memory_estimate import worker_memory
from fer_core.run.configuration import MAX_BYTES, MAX_PIXELS
from tasks.clusters import local
from tasks.clusters.address import AddressCluster
from tasks.clusters.local import LocalCluster

REPOSITORY = Path(__file__).parents[4]


def test_a_real_worker_stays_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    row = measured(20)
    assert row["loaded"] < row["peak"] < row["formula"]
    assert row["peak"] > row["loaded"] + 20e6 * 7  # the picture was there, as decoded and as handed on


def test_it_is_a_sum_of_bounds() -> None:
    usual = worker_memory(MAX_BYTES, MAX_PIXELS)
    assert worker_memory(MAX_BYTES + 5, MAX_PIXELS) == usual + 5
    assert worker_memory(MAX_BYTES, PIXELS_AHEAD) == worker_memory(MAX_BYTES, 1)
    assert worker_memory(MAX_BYTES, 2 * MAX_PIXELS) - usual == 13 * MAX_PIXELS


def test_a_small_machine_starts_fewer_workers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    each = worker_memory(MAX_BYTES, MAX_PIXELS)
    monkeypatch.setattr(local, "cores", lambda: 8)
    for memory, workers in ((100 * each, 8), (3 * each, 3), (3 * each - 1, 2), (each // 2, 1)):
        monkeypatch.setattr(local, "memory", lambda memory=memory: memory)
        assert local.processes() == LocalCluster().max_concurrency() == workers


def test_who_asks_for_more_than_fit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    each = worker_memory(MAX_BYTES, MAX_PIXELS)
    monkeypatch.setattr(local, "cores", lambda: 8)
    monkeypatch.setattr(local, "memory", lambda: 3 * each)
    said = LocalCluster(processes=4).memory_warning()
    assert said is not None
    assert said.startswith("4 workers may need ")
    assert said.endswith("3 would fit")
    assert LocalCluster(processes=3).memory_warning() is None
    assert LocalCluster().memory_warning() is None
    assert AddressCluster(address="tcp://10.0.0.1:8786").memory_warning() is None


@pytest.mark.parametrize(("cores", "workers", "threads"), [(2, 2, 1), (2, 1, 2), (8, 3, 2), (4, 8, 1), (1, 1, 1)])
def test_networks_together_use_no_more_threads_than_there_are_cores(
    cores: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "cores", lambda: cores)
    assert local.threads_of(workers) == threads
    assert local.threads_of(workers) * workers <= max(cores, workers)
