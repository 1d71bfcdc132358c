"""The benchmark of planning, at its smallest: what it builds is a ledger, and what it plans is right."""

import json

import pytest

from benchmarks.scalability import planning
from fer_core.commit.plan import read_plan
from fer_core.commit.publish import committed_runs
from fer_core.storage.store import open_store

SIZE = 9_500


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger")
    planning.build(str(folder), SIZE)
    return folder


def test_only_what_is_new_is_planned(ledger):
    told = planning.planned(str(ledger), SIZE)
    store = open_store(str(ledger))
    assert len(committed_runs(store)) == planning.NIGHTS + 1
    plan = read_plan(store, f"night-{planning.NIGHTS + 1}")
    assert (plan.listed, plan.unchanged, plan.images.num_rows) == (SIZE, SIZE - 1_000, 1_000)
    assert plan.images["image_uri"].to_pylist() == [planning.uri(number) for number in range(SIZE - 1_000, SIZE)]
    assert told["seconds"] == pytest.approx(sum(told["stages"].values()), abs=0.01)
    assert told["peak_bytes"] > told["own_peak_bytes"] > 30e6


def test_a_size_that_cannot_be_built_says_so(tmp_path):
    with pytest.raises(SystemExit, match="9000 images are too few"):
        planning.build(str(tmp_path), 9_000)


def test_figures_become_a_table_and_a_curve(tmp_path):
    stages = dict.fromkeys(planning.STAGES, 1.0)
    spent = {"parts": 9, "seconds": 4.0, "cpu_seconds": 4.0, "stages": stages, "own_peak_bytes": 1e8, "peak_bytes": 5e8}
    figures = [{"listed": size, **spent} for size in (10_000, 10**6)]
    assert "| 1,000,000 | 9 | 4.00 | 1.00 | 1.00 | 1.00 | 1.00 | 4.00 | 0.10 GB | 0.50 GB |" in planning.table(
        json.loads(json.dumps(figures))
    )
    planning.draw(figures, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
