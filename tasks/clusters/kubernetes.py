"""Dask workers as pods, created by the Dask operator, which must be installed in the Kubernetes cluster."""

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from fer_core.errors import ClusterError
from tasks.clusters.base import GPU, Adaptive, ClusterBackend, Line, Number, max_size, min_size
from tasks.clusters.settings import UNSEEN, as_environment

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy.cluster import Cluster

SCHEDULER: Final = {"cpu": "1", "memory": "2Gi"}
"""Resources of the scheduler's pod. The scheduler processes no images."""


class KubernetesCluster(ClusterBackend):
    """Pods, created by the Dask operator."""

    model_config = ConfigDict(title="Kubernetes")
    package: ClassVar[str | None] = "dask_kubernetes"

    kind: Literal["kubernetes"] = Field(default="kubernetes", title="Kind")
    image: Line = Field(
        title="Image", description="Container image with this release of ferflow.", examples=["registry.example/ferflow:0.1.0"]
    )
    pods: Number | Adaptive = Field(
        default=1, title="Pods", description="Pods of one process each: a number, or an adaptive number between two."
    )
    namespace: Line | None = Field(default=None, title="Namespace", description="If empty, from the context of kubectl.")
    cpu: float = Field(default=1.0, gt=0, le=1024, title="Cores a pod")
    memory: str = Field(default="4Gi", pattern=r"^\d+(Mi|Gi|M|G)$", title="Memory a pod")
    gpu: bool = Field(default=False, title="A GPU a pod")
    secret: Line | None = Field(
        None,
        title="Secret",
        description="Name of a Kubernetes secret; its entries become environment variables of the pods, such as keys of the object store.",
    )
    patience: int = Field(default=600, ge=1, le=604_800, title="Seconds for a first pod", description="How long it may take to start.")

    def max_concurrency(self) -> int:
        return max_size(self.pods)

    def needs(self) -> dict[str, float]:
        return {GPU: 1} if self.gpu else {}

    def code(self) -> tuple[object, ...]:
        return self.kind, self.image, self.namespace, self.secret

    @contextmanager
    def open_client(self) -> "Iterator[Client]":
        """A client once a first pod is ready. The cluster is deleted at the end. ClusterError, in one line, if no pod starts."""
        self.check()
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        made = manifest(self, f"ferflow-{secrets.token_hex(4)}")
        cluster = _made(self, made)
        try:
            yield _with_pods(cluster, self)
        finally:
            with suppress(Exception):  # the operator deletes an idle cluster itself
                cluster.close(timeout=30)


def manifest(spec: KubernetesCluster, name: str) -> dict[str, Any]:
    """The `DaskCluster` resource for the operator."""
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
    # Dask removed the command that dask-kubernetes sets
    scheduler["args"] = ["dask", "scheduler", *scheduler["args"][1:], "--no-dashboard"]  # the HTTP server still serves the health check
    if spec.secret is not None:
        worker["envFrom"] = [{"secretRef": {"name": spec.secret}}]
    return made


def _made(spec: KubernetesCluster, made: dict[str, Any]) -> "Cluster":
    from dask_kubernetes.operator import KubeCluster

    try:
        cluster: Cluster = KubeCluster(custom_cluster_spec=made, namespace=spec.namespace, resource_timeout=spec.patience, quiet=True)
    except Exception as error:  # from its Kubernetes client, from HTTP or from Dask
        raise ClusterError(f"Kubernetes cannot create the cluster: {_plain(error)}") from error
    return cluster


def _with_pods(cluster: "Cluster", spec: KubernetesCluster) -> "Client":
    from distributed import Client

    from tasks.clusters.versions import check_agreement

    try:
        if isinstance(spec.pods, Adaptive):
            cluster.adapt(minimum=spec.pods.minimum, maximum=spec.pods.maximum)
        client = Client(cluster)
        client.wait_for_workers(1, timeout=spec.patience)
    except TimeoutError as error:
        raise ClusterError(f"no pod started within {spec.patience} s (kubectl describe pods shows why)") from error
    except Exception as error:
        raise ClusterError(f"Kubernetes cannot create the cluster: {_plain(error)}") from error
    check_agreement(client, cluster.scheduler_address)
    return client


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
