"""What a scheduler and its workers are told that ferflow starts itself, wherever they run."""

from typing import Any, Final

from fer_core.isolation import SAFE_PATH, SILENT

FROZEN_SECONDS: Final = 60
"""How long a worker may be silent (stopped, or deep in code that lets no other thread run) before it is given up and started anew."""
SHARD_SECONDS: Final = 30
"""What a shard is taken for until the first one is done: an adaptive cluster grows by it."""
IDLE_LOOKS: Final = 30
"""How often, a second apart, an adaptive cluster must have a worker too many before one is sent home: loading a model takes longer."""

HTTP_ROUTES: Final = ("distributed.http.health",)
"""Without those that show tasks, their arguments and logs to every user of the machine."""

UNSEEN: Final = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
"""Of `dask worker` elsewhere: its HTTP server answers its own machine alone."""

ALLOCATION: Final = {"MALLOC_MMAP_THRESHOLD_": str(8 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20)}
"""Of workers' environment. Under Dask's own 64 KiB every picture's memory goes back to the system, which clears it for the next one."""
ENVIRONMENT: Final = ALLOCATION | SAFE_PATH | SILENT
"""Of every worker: how it allocates memory, and that it keeps to itself."""


def settings() -> dict[str, Any]:
    """Of Dask's configuration, by dotted names."""
    return {
        # the first death makes suspects of all shards that were on the worker; the fan-out then tries each alone
        "distributed.scheduler.allowed-failures": 0,
        # a worker that pauses because libraries alone fill most of a small memory would pause for ever
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.95,
        # a shard that waits at a worker waits for the one before it, while others may have nothing to do
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.worker-ttl": f"{FROZEN_SECONDS} s",
        "distributed.scheduler.unknown-task-duration": f"{SHARD_SECONDS} s",
        "distributed.admin.low-level-log-length": 0,
        # Dask's HTTP servers ask nobody who they are: of their pages only the word that all is well, which Kubernetes asks for
        "distributed.scheduler.http.routes": list(HTTP_ROUTES),
        "distributed.worker.http.routes": list(HTTP_ROUTES),
        # a shard's one task is minutes of other people's code: nobody looks at its call stacks, taken every 10 ms, or at a beat of 20 ms
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "500 ms",
        "distributed.admin.system-monitor.interval": "5 s",
    }


def as_environment() -> dict[str, str]:
    """The same for processes elsewhere, and what else a worker's environment holds."""
    told = {f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value) for name, value in settings().items()}
    return told | ENVIRONMENT
