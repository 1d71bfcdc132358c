"""How many threads a worker may use: workers themselves are the parallelism, unless they have cores to themselves. And requests at once."""

import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


def at_once(work: Callable[[In], Out], values: Iterable[In], threads: int) -> list[Out]:
    """The results in order, of calls in so many threads. An error, or Ctrl-C, does not wait for other calls."""
    pool = ThreadPoolExecutor(threads)
    try:
        return list(pool.map(work, values))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def network_threads() -> int:
    """Threads of a network on a CPU: FERFLOW_THREADS, which is set where workers are started; default 1."""
    return max(1, int(os.environ.get("FERFLOW_THREADS", "1")))


def decoders(device: str) -> int:
    """Threads that decode pictures ahead. device: `auto`, `cpu` or `cuda`, from the run's configuration.

    One where the worker computes on its CPU core: more would take time from other workers. Where a GPU computes, all cores of
    the machine, shared with the workers of its other GPUs. FERFLOW_DECODERS overrides it; with 0 the worker's own thread decodes.
    """
    configured = os.environ.get("FERFLOW_DECODERS")
    if configured:
        return max(0, int(configured))
    torch = sys.modules.get("torch")
    gpus = torch.cuda.device_count() if torch is not None and device != "cpu" else 0
    return max(1, _cores() // gpus) if gpus else 1


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
