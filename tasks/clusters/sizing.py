"""How many work at a time, and how many are worth starting."""

import math
import os
from typing import Final

from fer_core.errors import UsageError
from fer_core.pipeline.memory_estimate import worker_memory
from fer_core.planning.draft import shard_size_for
from fer_core.run import MAX_BYTES, MAX_PIXELS
from tasks.clusters.gpus import visible_gpus
from tasks.clusters.spec import Adaptive, AddressCluster, GpuCluster, Kind, KubernetesCluster, LocalCluster, SlurmCluster

ASSUMED_CONCURRENCY: Final = 32
"""Workers of a scheduler that is not asked."""


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


def memory_warning(spec: Kind) -> str | None:
    """What to say where the workers asked for may need more memory than there is, with pictures as large as are read at all."""
    if not isinstance(spec, LocalCluster) or spec.processes is None:
        return None
    need = max_size(spec.processes) * worker_memory(MAX_BYTES, MAX_PIXELS)
    if need <= memory():
        return None
    told = f"{max_size(spec.processes)} workers may need {need / 2**30:.1f} GiB together for images of {MAX_PIXELS // 10**6} megapixels"
    return f"{told}, this machine has {memory() / 2**30:.1f} GiB; {processes()} would fit"


def with_workers(spec: Kind, workers: int | None) -> Kind:
    """The same with the number of local processes that `--workers` says. UsageError where there are none to count."""
    if workers is None:
        return spec
    if isinstance(spec, AddressCluster):
        raise UsageError("--workers is for local clusters: a running scheduler has the workers it has")
    if not isinstance(spec, LocalCluster):
        raise UsageError(f"--workers is for local clusters: the number is part of a {spec.kind} cluster's own description")
    return spec.model_copy(update={"processes": workers})


def min_size(size: int | Adaptive) -> int:
    """How many there are to begin with."""
    return size.minimum if isinstance(size, Adaptive) else size


def max_size(size: int | Adaptive) -> int:
    """How many there can be."""
    return size.maximum if isinstance(size, Adaptive) else size


def max_concurrency(spec: Kind) -> int:
    """Shards that can be worked on at a time. 1 for a scheduler that runs elsewhere: it is not asked."""
    if isinstance(spec, LocalCluster):
        return max_size(spec.processes or processes()) * spec.threads
    if isinstance(spec, GpuCluster):
        return spec.gpus or max(1, len(visible_gpus()))
    if isinstance(spec, SlurmCluster):
        return max_size(spec.jobs) * (1 if spec.gpu else spec.cores)
    return max_size(spec.pods) if isinstance(spec, KubernetesCluster) else 1


def planning_concurrency(spec: Kind) -> int:
    """The same for cutting shards. Behind a scheduler that runs elsewhere many are supposed: more shards cost little, idle workers much."""
    return ASSUMED_CONCURRENCY if isinstance(spec, AddressCluster) else max_concurrency(spec)


def cap_workers(spec: LocalCluster, images: int, shard_size: int | None) -> LocalCluster:
    """The same with no process that would have no shard of its own when there are at most so many images."""
    shards = math.ceil(images / (shard_size or shard_size_for(images, max_concurrency(spec))))
    enough = max(1, math.ceil(shards / spec.threads))
    size = spec.processes or processes()
    if not isinstance(size, Adaptive):
        return spec.model_copy(update={"processes": min(size, enough)})
    bounds = Adaptive(minimum=min(size.minimum, enough), maximum=min(size.maximum, enough))
    return spec.model_copy(update={"processes": bounds})
