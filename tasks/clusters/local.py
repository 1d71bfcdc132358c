"""Dask workers as processes on this machine."""

import logging
import math
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pydantic import ConfigDict, Field

from fer_core.errors import UsageError
from fer_core.pipeline.memory_estimate import worker_memory
from fer_core.planning.draft import shard_size_for
from fer_core.run.configuration import MAX_BYTES, MAX_PIXELS
from fer_core.storage.file_mode import temporary_folder
from tasks.clusters.base import Adaptive, Number, max_size, min_size
from tasks.clusters.early_start import LocalBackend
from tasks.clusters.settings import ENVIRONMENT, FROZEN_SECONDS, IDLE_LOOKS, settings
from tasks.execution.worker_entrypoint import warm_up

if TYPE_CHECKING:
    import distributed

CONNECT_SECONDS: Final = 8
START_SECONDS: Final = 60
_WORDS: Final = re.compile(r"local(?::([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?)?")


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS) -> int:
    """Default number of local workers: one per core, limited by the memory that images of the largest allowed size need."""
    return max(1, min(cores(), memory() // worker_memory(max_bytes, max_pixels)))


def memory() -> int:
    """Memory limit of this process and its children in bytes, from the machine, its limits and its container."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def threads_of(workers: int) -> int:
    """Threads of a network in each of `workers` local workers: in total at most the number of cores."""
    return max(1, cores() // workers)


class LocalCluster(LocalBackend):
    """Processes on this machine."""

    model_config = ConfigDict(title="Local")

    kind: Literal["local"] = Field(default="local", title="Kind")
    processes: Number | Adaptive | None = Field(
        default=None,
        title="Processes",
        description="A number, or an adaptive number between two. If empty, one a core.",
    )
    threads: int = Field(
        default=1, ge=1, le=64, title="Threads", description="Shards that one process works on at a time. Processes are faster."
    )

    @classmethod
    def from_words(cls, text: str) -> Self | None:
        """`local`, `local:N` and `local:MIN-MAX`. UsageError if MIN is more than MAX."""
        match = _WORDS.fullmatch(text)
        if match is None:
            return None
        if match[2] is None:
            return cls(processes=int(match[1]) if match[1] else None)
        if int(match[1]) > int(match[2]):
            raise UsageError(f"{text}: the smaller number comes first")
        return cls(processes=Adaptive(minimum=int(match[1]), maximum=int(match[2])))

    def as_text(self) -> str:
        if self.threads != 1:
            return super().as_text()
        size = self.processes
        return "local" + (f":{size.minimum}-{size.maximum}" if isinstance(size, Adaptive) else f":{size}" if size else "")

    def with_workers(self, workers: int | None) -> Self:
        return self if workers is None else self.model_copy(update={"processes": workers})

    def max_concurrency(self) -> int:
        return max_size(self.processes or processes()) * self.threads

    def memory_warning(self) -> str | None:
        if self.processes is None:
            return None
        need = max_size(self.processes) * worker_memory(MAX_BYTES, MAX_PIXELS)
        if need <= memory():
            return None
        told = f"{max_size(self.processes)} workers may need {need / 2**30:.1f} GiB together for images of {MAX_PIXELS // 10**6} megapixels"
        return f"{told}, this machine has {memory() / 2**30:.1f} GiB; {processes()} would fit"

    def capped(self, images: int, shard_size: int | None) -> Self:
        shards = math.ceil(images / (shard_size or shard_size_for(images, self.max_concurrency())))
        enough = max(1, math.ceil(shards / self.threads))
        size = self.processes or processes()
        if not isinstance(size, Adaptive):
            return self.model_copy(update={"processes": min(size, enough)})
        bounds = Adaptive(minimum=min(size.minimum, enough), maximum=min(size.maximum, enough))
        return self.model_copy(update={"processes": bounds})

    def start(self, verbose: bool) -> "tuple[distributed.Client, distributed.LocalCluster]":
        import distributed

        configure(verbose)
        size = self.processes or processes()
        network_threads = os.environ.get("FERFLOW_THREADS") or str(threads_of(max_size(size) * self.threads))
        given = {**options(verbose), "env": {"FERFLOW_THREADS": network_threads}}
        cluster = distributed.LocalCluster(n_workers=min_size(size), threads_per_worker=self.threads, **given)
        client = connected(cluster)
        if isinstance(size, Adaptive):
            cluster.adapt(minimum=size.minimum, maximum=size.maximum, wait_count=IDLE_LOOKS)
        return client, cluster


def configure(verbose: bool, frozen_seconds: int = FROZEN_SECONDS) -> None:
    """Configure Dask in this process, before the scheduler is created. frozen_seconds: see `FROZEN_SECONDS`."""
    import dask

    dask.config.set({**settings(frozen_seconds), "temporary-directory": temporary_folder()})
    dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()})
    # by default a cluster removes a worker that does not restart within 15 s, and on a busy machine may lose all of them
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
    if not verbose:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # `silence_logs` does not change handlers that are already set up


def options(verbose: bool) -> dict[str, Any]:
    """Options of a cluster that listens on the loopback interface and requires its certificate, because each client can run code on it.

    `security`: a key and a certificate for this cluster, kept in memory; workers get them through the pipe that starts them.
    """
    from tasks.clusters.certificate import ephemeral_tls

    return {
        "processes": True,
        "host": "127.0.0.1",
        "protocol": "tls://",
        "security": ephemeral_tls(),
        "silence_logs": logging.WARNING if verbose else logging.CRITICAL,
        "dashboard_address": None,
        # without a dashboard the scheduler still serves HTTP: bind it to the loopback interface, on a free port
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
    }


def connected(cluster: "distributed.LocalCluster", start_seconds: float = START_SECONDS, *, warm: bool = True) -> "distributed.Client":
    """A client once a worker has started. If none starts, the cluster is closed and the error is raised.

    warm: let each worker load its libraries before its first shard.
    """
    import distributed

    client = None
    try:
        client = distributed.Client(cluster, timeout=CONNECT_SECONDS)
        client.wait_for_workers(1, timeout=start_seconds)
        if warm:
            _warm(client)
    except BaseException:
        if client is not None:
            with suppress(Exception):  # the error that is raised matters more
                client.close(timeout=1)  # otherwise it keeps the event loop's thread, which it shares with the cluster
        cluster.close(timeout=1)
        raise
    return client


def _warm(client: "distributed.Client") -> None:
    """Submit a task to each worker that loads its libraries. The client does not wait; a worker's first shard runs after this task."""
    from distributed import fire_and_forget

    for number, address in enumerate(client.nthreads()):
        fire_and_forget(client.submit(warm_up, key=f"warm-up-{number}", workers=[address], pure=False))
