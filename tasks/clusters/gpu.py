"""Dask workers that have a GPU of this machine each."""

from typing import Any

from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from fer_core.errors import ClusterError
from tasks.clusters.gpus import chosen_gpus
from tasks.clusters.local import configure, connected, options, stop_local
from tasks.clusters.spec import GpuCluster
from tasks.execution.worker_entrypoint import GPU


def start_gpu(spec: GpuCluster, verbose: bool) -> tuple[Client, LocalCluster]:
    """One process for each GPU, which sees no other. ClusterError where PyTorch cannot use them."""
    gpus = chosen_gpus(spec.gpus)
    configure(verbose)
    memory = MEMORY_LIMIT // len(gpus)
    cluster: LocalCluster = _Pinned(gpus, n_workers=0, threads_per_worker=1, memory_limit=memory, resources={GPU: 1}, **options(verbose))
    cluster.scale(len(gpus))
    client = connected(cluster)
    try:
        _check(client)
    except BaseException:
        stop_local(client, cluster)
        raise
    return client, cluster


class _Pinned(LocalCluster):
    """Each worker is told which GPU is its own before it loads anything."""

    def __init__(self, gpus: tuple[str, ...], **given: Any) -> None:  # noqa: ANN401  (what LocalCluster takes)
        self._gpus = gpus
        super().__init__(**given)  # type: ignore[no-untyped-call]

    def new_worker_spec(self) -> dict[int, Any]:
        """Name and description of the next worker; names count from 0."""
        ((name, spec),) = super().new_worker_spec().items()  # type: ignore[no-untyped-call]
        environment = {"CUDA_VISIBLE_DEVICES": self._gpus[name % len(self._gpus)]}
        return {name: {**spec, "options": {**spec["options"], "env": environment}}}


def _check(client: Client) -> None:
    asked = [client.submit(cuda, key=f"cuda-{number}", workers=[at], pure=False) for number, at in enumerate(client.nthreads())]
    for told in client.gather(asked):
        if told is not None:
            raise ClusterError(f"PyTorch cannot use the GPUs of this machine: {told}")


def cuda() -> str | None:
    """What keeps PyTorch from a GPU, in this process; None where nothing does."""
    import torch

    if torch.cuda.is_available():
        return None
    return f"torch {torch.__version__} is built without CUDA" if torch.version.cuda is None else "its driver does not answer"
