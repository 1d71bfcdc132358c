"""All kinds of clusters, in the order in which forms show them."""

from typing import Final, get_args

from tasks.clusters.address import AddressCluster
from tasks.clusters.base import ClusterBackend
from tasks.clusters.gpu import GpuCluster
from tasks.clusters.kubernetes import KubernetesCluster
from tasks.clusters.local import LocalCluster
from tasks.clusters.slurm import SlurmCluster

Kind = LocalCluster | AddressCluster | GpuCluster | SlurmCluster | KubernetesCluster

BACKENDS: Final[dict[str, type[ClusterBackend]]] = {backend.model_fields["kind"].default: backend for backend in get_args(Kind)}
"""Classes by the kind's name in forms, files and options."""
