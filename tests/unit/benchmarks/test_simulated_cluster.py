"""A small simulated cluster: real scheduler, real workers that wait, stragglers and deaths; every image is answered for exactly once."""

import logging
from dataclasses import replace

import dask
import pytest

from benchmarks.scalability import simulated_cluster
from benchmarks.scalability.simulated_cluster import Size, busy, draw, makespan, measured, planned, table
from benchmarks.scalability.simulated_workers import WorkerProfile
from fer_core.run.part_name import PartName

SIZE = Size(16, 1.5, 0.5, 0.02, 1)


@pytest.fixture(scope="module")
def client():
    with dask.config.set(), simulated_cluster.simulated_cluster(SIZE) as client:
        yield client
    logging.getLogger("distributed").setLevel(logging.NOTSET)


@pytest.fixture(scope="module")
def runs(client):
    """In rough weather; what is answered for twice or never ends the benchmark, see `measured`."""
    found = []
    for twice in (True, False):
        weather = WorkerProfile(SIZE.image_seconds, simulated_cluster.USUAL_BYTES, stragglers=0.03, slowness=20.0, deaths=0.03)
        found.append({"weather": "calm" if twice else "rough", **measured(client, SIZE, weather, twice=twice)})
    return found


def test_stragglers_are_overtaken_and_deaths_are_made_good(runs):
    twice, once = runs
    assert twice["stragglers"] > 0
    assert twice["deaths"] > 0
    assert once["sent"] >= once["shards"] + once["deaths"]
    assert twice["sent"] > once["sent"]
    assert twice["won_by_second"] > once["won_by_second"] >= once["deaths"]
    assert twice["images"] == planned(SIZE).num_rows == round(SIZE.workers * SIZE.seconds / SIZE.image_seconds)


def test_figures_become_a_table_and_a_plot(runs, tmp_path):
    assert f"| 16 | rough | {runs[1]['shards']} |" in table(runs)
    draw(runs, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert all(0 <= share <= 1 for run in runs for _, share in run["busy"])


def test_what_a_perfect_scheduler_would_take():
    assert makespan([3, 1, 1, 1], 2) == 3
    assert makespan([1, 1, 1, 3], 2) == 4
    assert busy([(0.0, 1.0), (0.0, 2.0)], 2.0, 2)[0] == (0.0, 1.0)
    assert busy([(0.0, 1.0), (0.0, 2.0)], 2.0, 2)[150][1] == 0.5


def test_the_weather_is_the_same_in_every_run_and_as_frequent_as_said():
    weather = WorkerProfile(0.1, 1000, stragglers=0.1, deaths=0.05)
    lots = [weather.lot(PartName(number)) for number in range(4000)]
    assert lots == [weather.lot(PartName(number)) for number in range(4000)]
    assert sum(noise for noise, _, _ in lots) / 4000 == pytest.approx(1.0, abs=0.02)
    assert sum(slow for _, slow, _ in lots) / 4000 == pytest.approx(0.1, abs=0.02)
    assert sum(dies for _, _, dies in lots) / 4000 == pytest.approx(0.05, abs=0.02)
    assert not any(slow and dies for _, slow, dies in lots)
    assert replace(weather, spread=0.0).seconds(PartName(1), 2000) == pytest.approx(0.2)
