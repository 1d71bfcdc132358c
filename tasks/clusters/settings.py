"""Dask configuration and environment of the schedulers and workers that ferflow starts, local or remote."""

from typing import Any, Final

from fer_core.isolation import SAFE_PATH, SILENT

FROZEN_SECONDS: Final = 60
"""Heartbeat timeout after which a worker is restarted: it is stopped, or runs code that holds the interpreter lock."""
SHARD_SECONDS: Final = 30
"""Estimated duration of a shard until the first one is finished; an adaptive cluster scales by it."""
IDLE_LOOKS: Final = 30
"""Consecutive checks, one per second, with a surplus worker before an adaptive cluster retires it: loading a model takes time."""

HTTP_ROUTES: Final = ("distributed.http.health",)
"""HTTP routes of scheduler and workers: only the health check. Others show tasks, arguments and logs to every user of the machine."""

UNSEEN: Final = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")
"""Arguments of remote `dask worker` commands: their HTTP server listens on the loopback interface only."""

ALLOCATION: Final = {"MALLOC_MMAP_THRESHOLD_": str(8 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(32 * 2**20)}
"""malloc settings of workers. With Dask's 64 KiB the memory of each image returns to the system, which clears it for the next one."""
ENVIRONMENT: Final = ALLOCATION | SAFE_PATH | SILENT
"""Environment of every worker: malloc settings, a safe module path, and no telemetry."""


def settings(frozen_seconds: int = FROZEN_SECONDS) -> dict[str, Any]:
    """Dask configuration, by dotted names."""
    return {
        # the first worker failure fails all shards on that worker; the fan-out then retries each of them alone
        "distributed.scheduler.allowed-failures": 0,
        # with a small memory limit the libraries alone exceed the pause threshold, and the worker would never resume
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.95,
        # no queue on workers: a queued shard would wait for the one before it while other workers are idle
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.worker-ttl": f"{frozen_seconds} s",
        "distributed.scheduler.unknown-task-duration": f"{SHARD_SECONDS} s",
        "distributed.admin.low-level-log-length": 0,
        # Dask's HTTP servers have no authentication: serve only the health check, which Kubernetes probes
        "distributed.scheduler.http.routes": list(HTTP_ROUTES),
        "distributed.worker.http.routes": list(HTTP_ROUTES),
        # a shard is one task of minutes in library code: its profile, sampled every 10 ms, and a tick of 20 ms are not used
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "500 ms",
        "distributed.admin.system-monitor.interval": "5 s",
    }


def as_environment() -> dict[str, str]:
    """`settings` as environment variables for remote processes, together with `ENVIRONMENT`."""
    told = {f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value) for name, value in settings().items()}
    return told | ENVIRONMENT
