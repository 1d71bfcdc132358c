"""Dask workers as pods, made by Dask's operator, which somebody has installed in the Kubernetes cluster."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from distributed import Client
from distributed.deploy.cluster import Cluster

from fer_core.errors import ClusterError
from tasks.clusters.preflight import check_cluster
from tasks.clusters.settings import UNSEEN, as_environment
from tasks.clusters.sizing import min_size
from tasks.clusters.spec import Adaptive, KubernetesCluster
from tasks.clusters.versions import check_agreement
from tasks.execution.worker_entrypoint import GPU

SCHEDULER: Final = {"cpu": "1", "memory": "2Gi"}
"""What a scheduler's pod has. It holds no pictures."""


@contextmanager
def kubernetes_client(spec: KubernetesCluster) -> Iterator[Client]:
    """A client once a first pod works; what was made goes at the end. ClusterError in one line where none does."""
    check_cluster(spec)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    made = manifest(spec, f"ferflow-{secrets.token_hex(4)}")
    cluster = _made(spec, made)
    try:
        yield _with_pods(cluster, spec)
    finally:
        with suppress(Exception):  # the operator ends the cluster itself once it is idle
            cluster.close(timeout=30)


def manifest(spec: KubernetesCluster, name: str) -> dict[str, Any]:
    """The `DaskCluster` that the operator is asked for."""
    from dask_kubernetes.operator import make_cluster_spec

    command = ["dask", "worker", "--nthreads", "1", *UNSEEN, *(("--resources", f"{GPU}=1") if spec.gpu else ())]
    made: dict[str, Any] = make_cluster_spec(
        name,
        image=spec.image,
        n_workers=min_size(spec.pods),
        env=as_environment(),
        worker_command=command,
        idle_timeout=spec.patience,
    )
    worker, scheduler = (made["spec"][role]["spec"]["containers"][0] for role in ("worker", "scheduler"))
    size = {"cpu": f"{spec.cpu:g}", "memory": spec.memory, **({"nvidia.com/gpu": "1"} if spec.gpu else {})}
    worker["resources"] = {"limits": size, "requests": size}
    scheduler["resources"] = {"limits": SCHEDULER, "requests": SCHEDULER}
    # the package's own command went out of Dask
    scheduler["args"] = ["dask", "scheduler", *scheduler["args"][1:], "--no-dashboard"]  # its HTTP server still says that all is well
    if spec.secret is not None:
        worker["envFrom"] = [{"secretRef": {"name": spec.secret}}]
    return made


def _made(spec: KubernetesCluster, made: dict[str, Any]) -> Cluster:
    from dask_kubernetes.operator import KubeCluster

    try:
        cluster: Cluster = KubeCluster(custom_cluster_spec=made, namespace=spec.namespace, resource_timeout=spec.patience, quiet=True)
    except Exception as error:  # of its own client of Kubernetes, of HTTP, of Dask
        raise ClusterError(f"Kubernetes does not make the cluster: {_plain(error)}") from error
    return cluster


def _with_pods(cluster: Cluster, spec: KubernetesCluster) -> Client:
    try:
        if isinstance(spec.pods, Adaptive):
            cluster.adapt(minimum=spec.pods.minimum, maximum=spec.pods.maximum)
        client = Client(cluster)
        client.wait_for_workers(1, timeout=spec.patience)
    except TimeoutError as error:
        raise ClusterError(f"no pod started within {spec.patience} s (kubectl describe pods shows why)") from error
    except Exception as error:
        raise ClusterError(f"Kubernetes does not make the cluster: {_plain(error)}") from error
    check_agreement(client, cluster.scheduler_address)
    return client


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
