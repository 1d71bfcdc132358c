"""Slurm and Kubernetes, as far as can be seen without either: what they are asked for, and, of Slurm, what a job does that begins."""

import logging
import os
import stat
import subprocess
import sys

import dask
import psutil
import pytest
import yaml

from fer_core.errors import ClusterError
from tasks.clusters import slurm as cluster_slurm
from tasks.clusters.base import Adaptive
from tasks.clusters.kubernetes import KubernetesCluster
from tasks.clusters.slurm import SlurmCluster
from tasks.execution.fan_out import fan_out
from tests.faults import odd_pictures
from tests.support.processes import REPOSITORY

SBATCH = """#!/bin/sh
# Starts the script at once and on this machine, and says what Slurm says.
[ -e "{folder}/full" ] && {{ echo "sbatch: error: invalid partition specified: night" >&2; exit 1; }}
[ -e "{folder}/queue" ] && {{ echo "Submitted batch job 7"; exit 0; }}
cp "$1" "{folder}/script-$$" # as Slurm does: what it was given goes at once
setsid sh "{folder}/script-$$" > "{folder}/job-$$.log" 2>&1 &
echo "$!" >> "{folder}/jobs"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
echo "$1" >> "{folder}/cancelled"
kill -s KILL -- "-$1" 2>> "{folder}/cancelled.log"
"""


@pytest.fixture(autouse=True)
def dask_as_it_was():
    with dask.config.set():
        yield
    logging.getLogger("distributed").setLevel(logging.NOTSET)


@pytest.fixture
def slurm(monkeypatch, tmp_path):
    """A folder in which a stand-in for Slurm keeps its jobs; this machine is its only node."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        command = folder / name
        command.write_text(text.format(folder=folder))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # of these tests: jobs find no module in the folder from which they were submitted
    return folder


def _lines(script: str, start: str) -> list[str]:
    return [line for line in script.splitlines() if line.startswith(start)]


def test_a_job_asks_for_what_the_form_says(slurm, tmp_path):
    spec = SlurmCluster(
        partition="night",
        account="faces",
        cores=4,
        memory="8GB",
        walltime="02:30:00",
        gpu=True,
        python="/opt/ferflow/bin/python",
        folder=str(tmp_path / "shared"),
        directives=["--qos=low"],
        setup=["module load cuda"],
    )
    with cluster_slurm.scheduler(spec) as cluster:
        script = cluster.job_script()
        assert cluster.scheduler_address.startswith("tls://")
        (secrets,) = (tmp_path / "shared").iterdir()
        assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o600}
    assert not secrets.exists()
    asked = [line.removeprefix("#SBATCH ") for line in _lines(script, "#SBATCH")]
    assert {"-p night", "-A faces", "-n 1", "--cpus-per-task=4", "--mem=8G", "-t 02:30:00", "--gres=gpu:1", "--qos=low"} <= set(asked)
    before = script.splitlines()
    assert before.index("module load cuda") < before.index("export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE='False'")
    (worker,) = _lines(script, "/opt/ferflow/bin/python -m distributed.cli.dask_worker tls://")
    assert " --nthreads 1 " in worker
    assert " --resources GPU=1" in worker
    assert " --tls-cert " in worker
    assert " --no-dashboard --dashboard-address 127.0.0.1:0 " in worker
    assert "PRIVATE" not in script


def test_a_job_of_several_cores_has_a_process_on_each(slurm, tmp_path):
    with cluster_slurm.scheduler(SlurmCluster(cores=3, memory="6GB", folder=str(tmp_path / "shared"))) as cluster:
        script = cluster.job_script()
    (worker,) = _lines(script, f"{sys.executable} -m distributed.cli.dask_worker tls://")
    assert " --nthreads 1 " in worker
    assert " --nworkers 3 " in worker
    assert "GPU" not in script
    assert not [line for line in _lines(script, "#SBATCH") if " -p " in line or " -A " in line]


def test_jobs_that_begin_work_until_the_run_ends(slurm, tmp_path):
    """Encrypted, with certificates that are gone afterwards. Their number follows the work."""
    shared, root = tmp_path / "shared", tmp_path / "root"
    root.mkdir()
    spec = SlurmCluster(jobs=Adaptive(minimum=1, maximum=2), memory="1GB", gpu=True, folder=str(shared))
    jobs = odd_pictures.jobs(root, *[[f"a{number}"] for number in range(6)], ["a", odd_pictures.DEADLY])
    with spec.open_client() as client:
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.allowed_failures) == 0
        assert client.run(dask.config.get, "distributed.worker.memory.pause") == dict.fromkeys(client.nthreads(), False)
        receipts = fan_out(client, jobs, lambda _: None, work=odd_pictures.look, resources=spec.needs())
    rows = odd_pictures.rows(root, receipts)
    assert len(rows) == 8
    assert [uri for uri, said in rows.items() if said.startswith("crashed")] == ["/06/deadly"]
    begun = (slurm / "jobs").read_text().split()
    assert 1 <= len(begun) <= 2
    assert set((slurm / "cancelled").read_text().split()) == set(begun)
    _, alive = psutil.wait_procs([process for process in psutil.process_iter() if _is_of(process, begun)], timeout=280)
    assert not alive
    assert not list(shared.glob("tls-*"))


def _is_of(process: psutil.Process, groups: list[str]) -> bool:
    try:
        return str(os.getpgid(process.pid)) in groups
    except (psutil.Error, OSError):
        return False


def test_a_job_that_is_refused_or_never_begins_is_one_line(slurm, tmp_path):
    (slurm / "full").touch()
    refused = r"^Slurm rejects the job: sbatch: error: invalid partition"
    with pytest.raises(ClusterError, match=refused), SlurmCluster(folder=str(tmp_path)).open_client():
        pass
    (slurm / "full").unlink()
    (slurm / "queue").touch()
    spec = SlurmCluster(patience=1, folder=str(tmp_path))
    said = rf"^no Slurm job started within 1 s \(squeue shows why a job waits; output of the jobs is in {tmp_path}\)$"
    with pytest.raises(ClusterError, match=said), spec.open_client():
        pass


def test_without_a_folder_for_certificates_no_scheduler_is_started(slurm, tmp_path):
    """By TCP, every client that reaches it could run code as its owner."""
    with pytest.raises(ClusterError, match=r"^clusters of kind slurm need the field folder, .*: it holds the certificates of the run$"):
        SlurmCluster().check()
    for where in (SlurmCluster(), SlurmCluster(folder=str(tmp_path / "open"))):
        (tmp_path / "open").mkdir(exist_ok=True)
        (tmp_path / "open").chmod(0o777)
        with (
            pytest.raises(ClusterError, match=r"field folder|^every user can replace certificates in"),
            cluster_slurm.scheduler(where),
        ):
            pass
    assert not list((tmp_path / "open").iterdir())


@pytest.fixture(scope="module")
def manifest():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's packages
        from tasks.clusters.kubernetes import manifest
    return manifest


def test_the_operator_is_asked_for_what_the_form_says(manifest):
    spec = KubernetesCluster(image="registry.example/ferflow:1", pods=Adaptive(minimum=2, maximum=9), cpu=1.5, gpu=True, secret="store")
    made = yaml.safe_load(yaml.safe_dump(manifest(spec, "ferflow-night")))
    assert (made["apiVersion"], made["kind"], made["metadata"]) == ("kubernetes.dask.org/v1", "DaskCluster", {"name": "ferflow-night"})
    (worker,), (scheduler,) = (made["spec"][role]["spec"]["containers"] for role in ("worker", "scheduler"))
    assert made["spec"]["worker"]["replicas"] == 2
    assert worker["image"] == scheduler["image"] == "registry.example/ferflow:1"
    size = {"cpu": "1.5", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert worker["resources"] == {"limits": size, "requests": size}
    assert "nvidia.com/gpu" not in scheduler["resources"]["limits"]
    assert worker["args"][:4] == ["dask", "worker", "--nthreads", "1"]
    assert worker["args"][4:9] == ["--no-dashboard", "--dashboard-address", "127.0.0.1:0", "--resources", "GPU=1"]
    assert scheduler["args"] == ["dask", "scheduler", "--host", "0.0.0.0", "--no-dashboard"]
    assert worker["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert "envFrom" not in scheduler
    for container in (worker, scheduler):
        told = {pair["name"]: pair["value"] for pair in container["env"]}
        assert told["DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES"] == "0"
        assert told["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"] == "['distributed.http.health']"
        assert all(isinstance(value, str) for value in told.values())


def test_commands_of_the_manifest_are_there(manifest):
    """An image with this release has them: what a scheduler and a worker are started with went by other names before."""
    made = manifest(KubernetesCluster(image="x"), "a")
    (worker,), (scheduler,) = (made["spec"][role]["spec"]["containers"] for role in ("worker", "scheduler"))
    for container in (worker, scheduler):
        asked = [sys.executable, "-m", *container["args"][:2], "--help"]
        options = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        assert all(option in options for option in container["args"] if option.startswith("--"))


def test_a_pod_without_a_gpu_is_one_core_and_nothing_else(manifest):
    made = manifest(KubernetesCluster(image="x", pods=3), "a")
    worker = made["spec"]["worker"]["spec"]["containers"][0]
    assert made["spec"]["worker"]["replicas"] == 3
    assert worker["resources"]["limits"] == {"cpu": "1", "memory": "4Gi"}
    assert "--resources" not in worker["args"]
    assert "envFrom" not in worker
