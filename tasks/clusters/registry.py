"""From a cluster as it is asked for to a Dask client with workers behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tasks.clusters.early_start import early_or_new_cluster
from tasks.clusters.spec import AddressCluster, GpuCluster, Kind, KubernetesCluster, LocalCluster, SlurmCluster
from tasks.execution.worker_entrypoint import GPU

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def open_client(spec: Kind) -> "Iterator[Client]":
    """A client with at least one worker behind it. ClusterError in one line when there is none."""
    # loading Dask takes a third of a second, which a command spends while its workers start
    if isinstance(spec, LocalCluster | GpuCluster):
        opened = early_or_new_cluster(spec)
    elif isinstance(spec, AddressCluster):
        from tasks.clusters.address import connect

        opened = connect(spec)
    elif isinstance(spec, SlurmCluster):
        from tasks.clusters.slurm import slurm_client

        opened = slurm_client(spec)
    else:
        from tasks.clusters.kubernetes import kubernetes_client

        opened = kubernetes_client(spec)
    with opened as client:
        yield client


def needs(spec: Kind) -> dict[str, float]:
    """What a shard takes up of a worker, in Dask's words: one GPU where workers have one each."""
    has_gpu = isinstance(spec, GpuCluster) or (isinstance(spec, SlurmCluster | KubernetesCluster) and spec.gpu)
    return {GPU: 1} if has_gpu else {}
