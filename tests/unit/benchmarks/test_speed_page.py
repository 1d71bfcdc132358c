"""The page of speed: tables and plots from whatever figures are there."""

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.common import record, speed_goals, speed_page, speed_plots
from tests.support.speed_figures import FIGURES, about


def put(folder, figures):
    folder.mkdir(exist_ok=True)
    for name, figure in figures.items():
        (folder / f"{name}.json").write_text(json.dumps({**about(name), **figure}))
    return folder


def written(folder, monkeypatch):
    """The page that the command makes of a folder."""
    page = folder.parent / "docs" / "speed.md"
    monkeypatch.setattr(sys, "argv", ["speed_page.py", str(folder), "--page", str(page), "--plots", str(page.parent / "plots")])
    speed_page.main()
    return page.read_text()


def test_all_figures_become_tables_beside_floors_and_goals(tmp_path, monkeypatch):
    text = written(put(tmp_path / "figures", FIGURES), monkeypatch)
    assert "| 2 cores, photographs, whole job, times the obvious script | 1.5 | 3 | 3.00 | goal reached |" in text
    assert "| the same, decoding and detection alone over it |  | within 1.3 | 1.20 | goal reached |" in text
    assert "| the same, images/s | 40 | 120 | 60.0 | floor kept, goal missed |" in text
    assert "| relabelling from crops, 2 cores, faces/s | 300 |  | 250 | floor missed |" in text
    assert "| confidence apart from it, largest | 0.01 |  | 0.0200 | floor missed |" in text
    assert "| 1 | 20.0 | 290 | 50.0 | 300 | 2.50 |" in text
    assert "| 1 | - | - | 80.0 | 300 | not measured |" in text
    assert "| loop with scrfd, and `tiny` | 25.0 | 310 | 2.40 |" in text
    assert "| `fer` | 20.0 | 200 | 3.00 |" in text
    assert "| 100 | 12 | 1.0 | 20.0 | 8.0 | 60.0 | 500 MiB |" in text
    assert "| `tiny` | 128 | 1 | 1.5 | 192 | 2 | 75 % |" in text
    agreed = "300 | 300 | 100.00 % | 99.60 % | 0.0010 |"
    assert f"| this revision | revision 381d49f | {agreed} 0.0200 | 99.50 % |" in text
    assert f"| this revision | float64 | {agreed} 0.0200 | 99.50 % |" in text
    assert f"| revision 381d49f | float64 | {agreed} 0.0146 | 99.50 % |" in text
    assert "were kept from" not in text
    assert "| 1 | 30.0 | 38.0 | 57.0 | 1.90 | 1.50 | 1.95 |" in text
    assert "Made-up processor, 2 cores, 24 GiB" in text
    assert "Measured 2026-11-26, revision abc1234. Repeat: `python -m benchmarks.cost_curves --to figures`" in text
    for name in speed_plots.PLOTS:
        assert f"(plots/speed-{name}.png)" in text
        with Image.open(tmp_path / "docs" / "plots" / f"speed-{name}.png") as plot:
            assert min(plot.size) > 200
            assert len(set(plot.convert("L").tobytes())) > 10


def test_points_of_an_earlier_run_are_told_apart():
    curves = {name: [{**one, "revision": "def5678"} for one in points] for name, points in FIGURES["cost_curves"]["curves"].items()}
    curves["sizes"][-1]["revision"] = "abc1234"
    text = speed_page.page({"cost_curves": {**about("cost_curves"), "workers": 2, "curves": curves}}, {})
    assert "5 of these 6 points were kept from a run of revision def5678 (`--resume`)." in text


def test_an_empty_folder_makes_a_page_that_measured_nothing(tmp_path, monkeypatch):
    text = written(put(tmp_path / "figures", {}), monkeypatch)
    assert text.count("not measured") >= len(speed_page.SECTIONS) + len(speed_goals.GOALS) + len(speed_page.ELSEWHERE)
    assert "Repeat: `python -m benchmarks.throughput.stage_limits" in text
    assert ".png" not in text


@pytest.mark.parametrize("left_out", sorted(FIGURES))
def test_any_file_may_be_missing(left_out, tmp_path):
    figures = speed_page.read(put(tmp_path / "figures", {name: figure for name, figure in FIGURES.items() if name != left_out}))
    title = speed_page.SECTIONS[left_out][0]
    assert f"## {title}\n\nnot measured\n" in speed_page.page(figures, {})


def test_other_peoples_figures_are_named_and_linked(tmp_path):
    (put(tmp_path / "figures", {"gpu": {}, "orchestration": {}}) / "simulated_cluster.json").write_text("[{}]")
    figures = speed_page.read(tmp_path / "figures")
    text = speed_page.page(figures, {})
    assert "| One GPU | [gpu.md](../explanation/gpu.md) | 2026-11-26 |" in text
    assert "| What Prefect and Dask add to a run | [scale-out.md](../explanation/scale-out.md) | 2026-11-26 |" in text
    assert "| Simulated clusters of 64 and 1,000 workers | [scale-out.md](../explanation/scale-out.md) | measured |" in text
    assert "| Memory from a thousand images to a million | [scale-out.md](../explanation/scale-out.md) | not measured |" in text


@pytest.mark.parametrize(
    ("value", "said"), [(1.4, "floor missed"), (1.5, "floor kept, goal missed"), (2.99, "floor kept, goal missed"), (3.0, "goal reached")]
)
def test_a_figure_is_judged_by_floor_and_goal(value, said):
    assert speed_goals.verdict(speed_goals.GOALS[0], value) == said


def test_each_machine_is_told_with_what_was_measured_on_it(tmp_path):
    figures = {name: {**about(name), **FIGURES[name]} for name in ("stage_limits", "training_rate")}
    figures["training_rate"] = {**figures["training_rate"], "machine": {**figures["training_rate"]["machine"], "processor": "Another"}}
    text = speed_page.page(figures, {})
    assert "- stage_limits: Made-up processor" in text
    assert "- training_rate: Another" in text


def test_records_hold_no_paths_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["benchmarks/x.py", str(tmp_path)])
    file = record.write_record(tmp_path, "x", {"rounds": [{"faces": 3, "manifest": "/home/me/labels/manifest.json"}]}, {"cores": 2})
    assert json.loads(file.read_text())["rounds"] == [{"faces": 3}]
    kept = Path(__file__).parents[3] / "docs" / "benchmarks" / "figures"
    assert not [file.name for file in kept.glob("*.json") if "/tmp/" in file.read_text() or "/root/" in file.read_text()]
