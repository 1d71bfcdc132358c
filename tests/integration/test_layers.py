"""Imports run one way, and what a worker imports stays light."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=REPOSITORY, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_run_one_way():
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("fer_core", "numpy pandas pyarrow prefect distributed dask torch cv2"),
        ("fer_core.api.labeler", "prefect distributed dask torch"),
        ("fer_core.pipeline.shard", "prefect distributed dask torch cv2 skimage matplotlib tensorboardX pyarrow.compute"),
        ("tasks.execution.fan_out", "prefect torch cv2"),
        ("tasks.execution.worker_entrypoint", "prefect torch cv2"),
        ("fer_core.predict.predictor", "matplotlib tensorboardX"),
        ("tasks.clusters.trust", "prefect distributed dask torch cv2 cryptography"),  # all that is done with a cluster but to open it
        ("flows.cli.main", "prefect distributed dask torch cv2 pyarrow pydantic numpy"),
    ],
)
def test_a_worker_or_a_command_starts_light(module, unwanted):
    loaded = python(f"import sys, {module}; print(*sorted(set(sys.modules) & set({unwanted!r}.split())))").split()
    assert loaded == []


def test_the_domain_knows_neither_prefect_nor_dask():
    code = """
import importlib, pkgutil, sys, fer_core
for module in pkgutil.walk_packages(fer_core.__path__, "fer_core."):
    importlib.import_module(module.name)
print(*sorted({"prefect", "distributed", "dask"} & set(sys.modules)))
"""
    assert python(code).split() == []
