"""Dask workers that are processes of this machine."""

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
from fer_core.run import MAX_BYTES, MAX_PIXELS
from fer_core.storage.file_mode import temporary_folder
from tasks.clusters.base import Adaptive, Number, max_size, min_size
from tasks.clusters.early_start import LocalBackend
from tasks.clusters.settings import ENVIRONMENT, IDLE_LOOKS, settings
from tasks.execution.worker_entrypoint import warm_up

if TYPE_CHECKING:
    import distributed

CONNECT_SECONDS: Final = 8
START_SECONDS: Final = 60
_WORDS: Final = re.compile(r"local(?::([1-9]\d{0,3})(?:-([1-9]\d{0,3}))?)?")


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes() -> int:
    """Local workers when nobody says how many: one for each core, as far as memory reaches for the largest pictures."""
    return max(1, min(cores(), memory() // worker_memory(MAX_BYTES, MAX_PIXELS)))


def memory() -> int:
    """Bytes that this process and its children may use, as far as the machine, its limits and its container say."""
    from distributed.system import MEMORY_LIMIT

    return int(MEMORY_LIMIT)


def threads_of(workers: int) -> int:
    """Of a network in each of so many local workers: together no more than there are cores."""
    return max(1, cores() // workers)


class LocalCluster(LocalBackend):
    """Processes on this machine."""

    model_config = ConfigDict(title="Local")

    kind: Literal["local"] = Field(default="local", title="Kind")
    processes: Number | Adaptive | None = Field(
        default=None,
        title="Processes",
        description="A number, or an adaptive number between two; one a core if none is given.",
    )
    threads: int = Field(
        default=1, ge=1, le=64, title="Threads", description="Shards that one process works on at a time. Processes are faster."
    )

    @classmethod
    def from_words(cls, text: str) -> Self | None:
        """`local`, `local:N` and `local:MIN-MAX`. UsageError where MIN is more than MAX."""
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


def configure(verbose: bool) -> None:
    """Dask in this process, before the scheduler is made."""
    import dask

    dask.config.set({**settings(), "temporary-directory": temporary_folder()})
    dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()})
    # else a cluster gives up a worker that a busy machine needs longer than 15 s to start anew, and in the end has none
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
    if not verbose:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # `silence_logs` spares handlers that others have set up


def options(verbose: bool) -> dict[str, Any]:
    """Of a cluster that nobody outside this machine reaches, and on it only who has its certificate: whoever connects runs code here.

    `security`: a key and a certificate made for this cluster, kept in memory; workers get them through the pipe that starts them.
    """
    from tasks.clusters.certificate import ephemeral_tls

    return {
        "processes": True,
        "host": "127.0.0.1",
        "protocol": "tls://",
        "security": ephemeral_tls(),
        "silence_logs": logging.WARNING if verbose else logging.CRITICAL,
        "dashboard_address": None,
        # without a dashboard the scheduler still serves HTTP: on this machine only, on any free port
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
    }


def connected(cluster: "distributed.LocalCluster") -> "distributed.Client":
    """A client once there is a worker. The cluster is closed where there is none."""
    import distributed

    client = None
    try:
        client = distributed.Client(cluster, timeout=CONNECT_SECONDS)
        client.wait_for_workers(1, timeout=START_SECONDS)
        _warm(client)
    except BaseException:
        if client is not None:
            with suppress(Exception):  # the error that is raised matters more
                client.close(timeout=1)  # or it would keep the thread of the two
        cluster.close(timeout=1)
        raise
    return client


def _warm(client: "distributed.Client") -> None:
    """Have each worker load its libraries now. Nobody waits for it, and a first shard that comes earlier waits for its end."""
    from distributed import fire_and_forget

    for number, address in enumerate(client.nthreads()):
        fire_and_forget(client.submit(warm_up, key=f"warm-up-{number}", workers=[address], pure=False))
