"""What keeps workers from starting, as far as it can be told before anything starts. Loads neither Dask nor the packages of the extras."""

import shutil
import stat
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from fer_core.errors import ClusterError
from tasks.clusters.gpus import chosen_gpus
from tasks.clusters.spec import AddressCluster, GpuCluster, Kind, KubernetesCluster, SlurmCluster
from tasks.clusters.tls import check_answer


def check_cluster(spec: Kind) -> None:
    """ClusterError in one line: no scheduler answers, no GPU, no package for this kind, no Slurm on this machine."""
    if isinstance(spec, AddressCluster):
        check_answer(spec)
    elif isinstance(spec, GpuCluster):
        chosen_gpus(spec.gpus)
    elif isinstance(spec, SlurmCluster):
        _need(spec.kind, "dask_jobqueue")
        for command in ("sbatch", "scancel"):
            if shutil.which(command) is None:
                raise ClusterError(f"clusters of kind slurm are started where jobs are submitted: there is no {command} on this machine")
        certificate_folder(spec)
    elif isinstance(spec, KubernetesCluster):
        _need(spec.kind, "dask_kubernetes")


def certificate_folder(spec: SlurmCluster) -> Path:
    """Where a Slurm run lays its certificates. ClusterError where there is none, or where every user could replace what lies in it.

    The scheduler listens to the whole network of the cluster: without certificates whoever reaches it would run code as this user.
    """
    if spec.folder is None:
        raise ClusterError("clusters of kind slurm need folder, one that all nodes see: it holds the certificates of the run")
    folder = Path(spec.folder).expanduser()
    with suppress(OSError):  # absent: it is made; unreadable: making certificates in it says so
        mode = folder.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ClusterError(f"every user can replace certificates in the folder {folder}: chmod o-w {folder}")
    return folder


def _need(kind: str, module: str) -> None:
    if find_spec(module) is None:
        raise ClusterError(f"clusters of kind {kind} need the package {module.replace('_', '-')}: pip install 'ferflow[{kind}]'")
