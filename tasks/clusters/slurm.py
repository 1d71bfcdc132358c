"""Dask workers as jobs of Slurm. The scheduler is in this process, on a machine from which jobs are submitted."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client, Security, Status

from fer_core.errors import ClusterError
from tasks.clusters.certificate import ephemeral_tls
from tasks.clusters.preflight import certificate_folder, check_cluster
from tasks.clusters.settings import IDLE_LOOKS, UNSEEN, as_environment, settings
from tasks.clusters.sizing import min_size
from tasks.clusters.spec import Adaptive, SlurmCluster
from tasks.clusters.versions import check_agreement
from tasks.execution.worker_entrypoint import GPU

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMCluster


@contextmanager
def slurm_client(spec: SlurmCluster) -> Iterator[Client]:
    """A client once a first job works; all jobs are cancelled at the end. ClusterError in one line where none does."""
    check_cluster(spec)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with scheduler(spec) as cluster, closing(Client(cluster)) as client:
        _submit(cluster, spec)
        try:
            client.wait_for_workers(1, timeout=spec.patience)
        except TimeoutError as error:
            logs = f"output of the jobs is in {spec.folder}"
            raise ClusterError(f"no Slurm job started within {spec.patience} s (squeue shows why a job waits; {logs})") from error
        check_agreement(client, cluster.scheduler_address)
        yield client


@contextmanager
def scheduler(spec: SlurmCluster) -> "Iterator[SLURMCluster]":
    """dask-jobqueue's cluster, with no job yet. ClusterError where it cannot start, or write to the folder."""
    from dask_jobqueue.slurm import SLURMCluster

    with dask.config.set(settings()), ExitStack() as stack:
        folder = certificate_folder(spec)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            cluster = SLURMCluster(
                **_job(spec),
                log_directory=str(folder),
                security=_certificates(Path(stack.enter_context(TemporaryDirectory(dir=folder, prefix="tls-")))),
                protocol="tls://",
                interface=spec.interface,
                scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs=logging.CRITICAL,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ClusterError(f"cannot start a scheduler for Slurm's jobs: {' '.join(str(error).split())}") from error
        try:
            yield cluster
        finally:
            with suppress(Exception):  # jobs that nobody cancels end by themselves when they hear no scheduler for a minute
                cluster.close(timeout=30)


def _certificates(folder: Path) -> Security:
    """Made for this run. One for all, in files of a folder that only this user reads."""
    made = ephemeral_tls().get_tls_config_for_role("worker")
    ca, cert, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    for file, text in ((ca, made["ca_file"]), (cert, made["cert"]), (key, made["key"])):
        file.touch(mode=0o600)
        file.write_text(str(text))
    files = {f"tls_{who}_{what}": str(file) for who in ("client", "scheduler", "worker") for what, file in (("cert", cert), ("key", key))}
    return Security(tls_ca_file=str(ca), require_encryption=True, **files)


def _job(spec: SlurmCluster) -> dict[str, Any]:
    """What each job is. A GPU has one process, whatever cores stand by it."""
    processes = 1 if spec.gpu else spec.cores
    return {
        "queue": spec.partition,
        "account": spec.account,
        "cores": processes,
        "processes": processes,
        "job_cpu": spec.cores,
        "memory": spec.memory.replace(" ", ""),
        "walltime": spec.walltime,
        "python": spec.python,
        "worker_extra_args": [*UNSEEN, *(["--resources", f"{GPU}=1"] if spec.gpu else [])],
        "job_extra_directives": (["--gres=gpu:1"] if spec.gpu else []) + list(spec.directives),
        "job_script_prologue": [*spec.setup, *(f"export {name}={value!r}" for name, value in as_environment().items())],
    }


def _submit(cluster: "SLURMCluster", spec: SlurmCluster) -> None:
    try:
        for _ in range(min_size(spec.jobs)):
            cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(cluster._correct_state)  # as `scale` does, which would tell nobody what sbatch says
    except (OSError, RuntimeError, ValueError) as error:
        for job in cluster.workers.values():
            if job.job_id is None:
                job.status = Status.failed  # or closing the cluster stumbles over it
        said = str(error).partition("stderr:")[2] or str(error)
        raise ClusterError(f"Slurm does not take the job: {' '.join(said.split())[:300]}") from error
    if isinstance(spec.jobs, Adaptive):
        cluster.adapt(minimum_jobs=spec.jobs.minimum, maximum_jobs=spec.jobs.maximum, wait_count=IDLE_LOOKS)
