"""What keeps workers from starting, as far as it can be told before anything starts. Loads neither Dask nor the packages of the extras."""

import shutil
from importlib.util import find_spec

from fer_core.errors import ClusterError
from tasks.cluster_kinds import AddressCluster, GpuCluster, Kind, KubernetesCluster, SlurmCluster
from tasks.cluster_tls import check_answer
from tasks.gpus import chosen_gpus


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
    elif isinstance(spec, KubernetesCluster):
        _need(spec.kind, "dask_kubernetes")


def _need(kind: str, module: str) -> None:
    if find_spec(module) is None:
        raise ClusterError(f"clusters of kind {kind} need the package {module.replace('_', '-')}: pip install 'ferflow[{kind}]'")
