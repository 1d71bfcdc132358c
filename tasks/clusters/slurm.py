"""Dask workers as Slurm jobs. The Dask scheduler runs in this process, on a machine that can submit jobs."""

import logging
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from fer_core.errors import ClusterError
from tasks.clusters.base import GPU, Adaptive, ClusterBackend, Line, Number, max_size, min_size
from tasks.clusters.settings import IDLE_LOOKS, UNSEEN, as_environment, settings

if TYPE_CHECKING:
    from dask_jobqueue.slurm import SLURMCluster
    from distributed import Client, Security


class SlurmCluster(ClusterBackend):
    """Slurm jobs, submitted from the machine of the run."""

    model_config = ConfigDict(title="Slurm")
    package: ClassVar[str | None] = "dask_jobqueue"

    kind: Literal["slurm"] = Field(default="slurm", title="Kind")
    jobs: Number | Adaptive = Field(default=1, title="Jobs", description="A number, or an adaptive number between two.")
    partition: Line | None = Field(default=None, title="Partition")
    account: Line | None = Field(default=None, title="Account")
    cores: int = Field(default=1, ge=1, le=1024, title="Cores a job", description="One process a core; with a GPU, one process in all.")
    memory: str = Field(default="4GB", pattern=r"^\d+ ?(M|MB|MiB|G|GB|GiB)$", title="Memory a job")
    walltime: str = Field(default="04:00:00", pattern=r"^[\d:-]+$", title="Wall time", description="Longest that a job may run.")
    gpu: bool = Field(default=False, title="A GPU a job")
    folder: Line | None = Field(
        None,
        title="Shared folder",
        description="Required, at the same path on all nodes. For logs, and for the certificates that keep other users out of this run.",
    )
    interface: Line | None = Field(default=None, title="Network interface", description="Connects the nodes, such as ib0.")
    python: Line | None = Field(
        default=None, title="Python", description="Python with ferflow on the nodes. If empty, at the path of this run's own."
    )
    directives: list[Line] = Field(default=[], title="More directives", description="Lines after #SBATCH, such as --qos=night.")
    setup: list[Line] = Field(default=[], title="Before the worker", description="Lines of shell, such as module load cuda.")
    patience: int = Field(default=600, ge=1, le=604_800, title="Seconds for a first job", description="How long it may wait in the queue.")

    def max_concurrency(self) -> int:
        return max_size(self.jobs) * (1 if self.gpu else self.cores)

    def needs(self) -> dict[str, float]:
        return {GPU: 1} if self.gpu else {}

    def code(self) -> tuple[object, ...]:
        return self.kind, self.folder, self.python, tuple(self.directives), tuple(self.setup)

    def check(self) -> None:
        super().check()
        for command in ("sbatch", "scancel"):
            if shutil.which(command) is None:
                raise ClusterError(f"clusters of kind slurm are started where jobs are submitted: there is no {command} on this machine")
        certificate_folder(self)

    @contextmanager
    def open_client(self) -> "Iterator[Client]":
        """A client once a first job has started. All jobs are cancelled at the end. ClusterError, in one line, if no job starts."""
        from distributed import Client

        from tasks.clusters.versions import check_agreement

        self.check()
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        with scheduler(self) as cluster, closing(Client(cluster)) as client:
            _submit(cluster, self)
            try:
                client.wait_for_workers(1, timeout=self.patience)
            except TimeoutError as error:
                logs = f"output of the jobs is in {self.folder}"
                raise ClusterError(f"no Slurm job started within {self.patience} s (squeue shows why a job waits; {logs})") from error
            check_agreement(client, cluster.scheduler_address)
            yield client


def certificate_folder(spec: SlurmCluster) -> Path:
    """Folder for the certificates of a run. ClusterError if none is set, or if every user can replace files in it.

    The scheduler listens on the cluster's network. Without certificates every client on this network could run code as this user.
    """
    if spec.folder is None:
        raise ClusterError(
            "clusters of kind slurm need the field folder, a path that all nodes share: it holds the certificates of the run"
        )
    folder = Path(spec.folder).expanduser()
    with suppress(OSError):  # a missing folder is created later; for an unreadable one, creating the certificates fails
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ClusterError(f"every user can replace certificates in the folder {folder}: chmod o-w {folder}")
    return folder


@contextmanager
def scheduler(spec: SlurmCluster) -> "Iterator[SLURMCluster]":
    """A dask-jobqueue cluster without jobs. ClusterError if it cannot start or cannot write to the folder."""
    import dask
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
            with suppress(Exception):  # jobs that are not cancelled exit after a minute without a scheduler
                cluster.close(timeout=30)


def _certificates(folder: Path) -> "Security":
    """A certificate for this run, shared by all its processes, in files of a folder that only this user can read."""
    from distributed import Security

    from tasks.clusters.certificate import ephemeral_tls

    made = ephemeral_tls().get_tls_config_for_role("worker")
    ca, cert, key = folder / "ca.pem", folder / "cert.pem", folder / "key.pem"
    for file, text in ((ca, made["ca_file"]), (cert, made["cert"]), (key, made["key"])):
        file.touch(mode=0o600)
        file.write_text(str(text))
    files = {f"tls_{who}_{what}": str(file) for who in ("client", "scheduler", "worker") for what, file in (("cert", cert), ("key", key))}
    return Security(tls_ca_file=str(ca), require_encryption=True, **files)


def _job(spec: SlurmCluster) -> dict[str, Any]:
    """Arguments of dask-jobqueue for each job. A job with a GPU runs one process, whatever its cores."""
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
    from distributed import Status

    try:
        for _ in range(min_size(spec.jobs)):
            cluster.worker_spec.update(cluster.new_worker_spec())
        cluster.sync(cluster._correct_state)  # what `scale` does, but errors of sbatch are raised
    except (OSError, RuntimeError, ValueError) as error:
        for job in cluster.workers.values():
            if job.job_id is None:
                job.status = Status.failed  # otherwise closing the cluster fails
        said = str(error).partition("stderr:")[2] or str(error)
        raise ClusterError(f"Slurm rejects the job: {' '.join(said.split())[:300]}") from error
    if isinstance(spec.jobs, Adaptive):
        cluster.adapt(minimum_jobs=spec.jobs.minimum, maximum_jobs=spec.jobs.maximum, wait_count=IDLE_LOOKS)
