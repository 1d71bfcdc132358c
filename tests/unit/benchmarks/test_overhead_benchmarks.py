"""The benchmarks of orchestration and of memory at their smallest: real runs whose shards look at nothing."""

import logging

import dask
import pytest

from benchmarks.memory import flat_memory
from benchmarks.scalability import orchestration


@pytest.fixture(scope="module")
def run(tmp_path_factory, prefect_url):
    return orchestration.measured(tmp_path_factory.mktemp("orchestration"), "short", 1.0, 2, prefect_url)


def test_a_command_that_only_waits_is_measured_against_its_work(run):
    assert run["images"] == round(2 / orchestration.IMAGE_SECONDS)
    assert run["work_seconds"] == pytest.approx(1.0, abs=0.02)
    assert run["overhead_seconds"] > run["startup_seconds"] > 0
    assert run["seconds"] == pytest.approx(run["work_seconds"] + run["overhead_seconds"])
    assert run["shards"] >= 2


def test_two_runs_tell_the_fixed_part_from_the_proportional_one():
    def made(work):
        return {"work_seconds": work, "overhead_seconds": 6.0 + 0.01 * work}

    told = orchestration.summary({"cold": made(1), "warm": made(1), "short": made(20), "long": made(60), "whole": made(600)})
    assert told["fixed_seconds"] == pytest.approx(6.0)
    assert told["proportional_share"] == pytest.approx(0.01)
    assert told["share_of_ten_minutes"] == pytest.approx(0.02)
    assert told["measured_share"] == pytest.approx(0.02)


def test_a_table_says_what_was_asked_for(run):
    runs = dict.fromkeys(("cold", "warm", "short"), run) | {"long": {**run, "work_seconds": 60.0}}
    shown = orchestration.markdown({"runs": runs, "summary": orchestration.summary(runs)})
    assert "(asked for: 10 s)" in shown
    assert "(asked for: 3 %)" in shown


def test_memory_is_told_step_by_step(tmp_path):
    with dask.config.set():
        row = flat_memory.measured(str(tmp_path), 400)
    logging.getLogger("distributed").setLevel(logging.NOTSET)
    assert row["images"] == 400
    with dask.config.set():
        again = flat_memory.measured(str(tmp_path), 400, 2)
    logging.getLogger("distributed").setLevel(logging.NOTSET)
    assert (again["night"], again["shards"]) == (2, 1)
    for peaks in (list(row["after"].values()), list(row["own"].values())):
        assert peaks == sorted(peaks)
    assert all(own < peak for own, peak in zip(row["own"].values(), row["after"].values(), strict=True))
    assert row["worker_peak_bytes"] > 30e6
    assert (tmp_path / "_meta" / "runs" / "night-1" / "manifest.json").is_file()
    large = {**row, "images": 1400, "own_peak_bytes": row["own_peak_bytes"] + 500_000}
    assert flat_memory.bytes_an_image([large, row]) == 500
    assert "500 bytes" in flat_memory.table([row, large])
