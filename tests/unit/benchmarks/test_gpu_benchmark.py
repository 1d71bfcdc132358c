"""The one command that will measure the GPU's path, tried on the CPU, where no other package than it asks for can be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MISSING = ("prefect", "dask", "distributed", "onnxruntime", "insightface", "skimage", "fsspec", "s3fs", "duckdb", "psutil", "torchvision")
"""What the machine with the GPU need not have."""


@pytest.fixture
def without(tmp_path):
    """Environment of a Python that finds none of them, nor this project."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nfor name in {MISSING!r}:\n    sys.modules[name] = None\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_the_command_works(tmp_path, without):
    out = tmp_path / "figures"
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "gpu" / "compare.py"),
        "--device",
        "cpu",
        "--quick",
        "--out",
        str(out),
        "--images",
        "4",
    ]
    done = subprocess.run(command, env=without, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads((out / "gpu.json").read_text())
    assert figures["measured_on_a_gpu"] is False
    equal = figures["equality"]
    assert equal["faces"] >= 3
    for name in ("float16", "float32"):
        assert equal[name]["faces_only_in_the_reference"] == equal[name]["faces_only_here"] == 0
        assert equal[name]["whole_path"]["same_expression"] == 1
    assert equal["float32"]["points_px"]["p100"] < 0.1
    assert figures["network"]["faces_per_second"] > 0
    assert figures["detector"]["images_per_second"] > 0
    assert figures["overlap"]["seconds_together"] > 0
    run = figures["job"]["runs"][0]
    assert run["images"] == 4
    assert run["faces"] >= 4
    assert run["parquet_bytes"] > 1000
    page = (out / "gpu.md").read_text()
    assert page.strip() == done.stdout.strip()
    assert "Not measured on a GPU" in page
    assert "| 1,000 | 4,000 |" in page


def test_without_a_gpu_it_says_so(tmp_path, without):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu" / "compare.py"), "--out", str(tmp_path / "figures")]
    done = subprocess.run(command, env={**without, "CUDA_VISIBLE_DEVICES": ""}, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no CUDA device" in done.stderr
    assert not (tmp_path / "figures").exists()


def test_time_in_both(monkeypatch):
    from benchmarks.gpu.overlap import merged, shared

    copies, kernels = merged([(0, 2), (5, 9), (1, 3)]), merged([(2, 6), (8, 8.5), (20, 30)])
    assert copies == [(0, 3), (5, 9)]
    assert shared(copies, kernels) == [(2, 3), (5, 6), (8, 8.5)]
    assert shared(copies, []) == []


def test_a_section_that_failed_costs_no_other(monkeypatch):
    from benchmarks.gpu.figures import markdown

    waited = {"pictures": 4, "batches": 1, "seconds_together": 1.0, "seconds_one_by_one": 2.0}
    page = markdown(
        {"machine": {"cores": 2}, "measured_on_a_gpu": True, "network": {"failed": "Traceback: out of memory"}, "overlap": waited}
    )
    assert "out of memory" in page
    assert "1.000 s queued" in page
    assert "| 40,000 | 100,000 | not measured |" in page
    assert "Not measured on a GPU" not in page
