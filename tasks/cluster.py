"""Dask workers: started on this machine, or found behind a scheduler's address."""

import logging
import math
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from fer_core.errors import ClusterError, UsageError
from tasks.draft import shard_size_for
from tasks.work import release, warm_up

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

CONNECT_SECONDS: Final = 8
WORKERS_SECONDS: Final = 10
"""How long a scheduler may be without any worker."""
START_SECONDS: Final = 60
FROZEN_SECONDS: Final = 60
"""How long a local worker may be silent (stopped, or deep in code that lets no other thread run) before it is killed and started anew."""

_ADDRESS: Final = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/@]+:\d+/?")


class ClusterSpec(BaseModel):
    """Where shards run."""

    model_config = ConfigDict(frozen=True)

    address: str | None = Field(None, description="Scheduler's address; none for processes on this machine.")
    workers: int = Field(1, ge=1, description="Processes on this machine.")

    @classmethod
    def parse(cls, spec: str, workers: int | None = None) -> Self:
        """`local`, `local:4`, `tcp://host:8786`, `tls://host:8786`. UsageError for anything else.

        workers: goes before the number in the spec; every core if neither says.
        """
        if _ADDRESS.fullmatch(spec):
            if workers is not None:
                raise UsageError("--workers is for local clusters: a running scheduler has the workers it has")
            return cls(address=spec.rstrip("/"), workers=1)
        match = re.fullmatch(r"local(?::(\d{1,4}))?", spec)
        if match is None or match[1] == "0":
            raise UsageError(f"a cluster is local, local:N or tcp://host:port, not {spec!r}")
        return cls(address=None, workers=workers or int(match[1] or cores()))


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(spec: ClusterSpec, images: int, shard_size: int | None) -> int:
    """Local workers worth starting when there are at most so many images: none without a shard of its own."""
    return max(1, min(spec.workers, math.ceil(images / (shard_size or shard_size_for(images, spec.workers)))))


class EarlyCluster:
    """Local workers that start in the background while something else does."""

    def __init__(self, workers: int, verbose: bool = False) -> None:
        self.workers = workers
        self._future: Future[tuple[Client, LocalCluster]] = Future()
        self._thread = threading.Thread(target=self._start, args=(verbose,), daemon=True)
        self._thread.start()

    def client(self) -> "Client":
        """Wait for the workers. ClusterError when they do not start."""
        try:
            return self._future.result(START_SECONDS)[0]
        except TimeoutError as error:
            raise ClusterError(f"Dask workers did not start within {START_SECONDS} s") from error

    def stop(self) -> None:
        """End every process. Takes no heed of shards at work: what they have staged so far counts for nothing or in full."""
        with suppress(Exception):  # whatever kept them from starting was told to whoever waited for the client
            client, cluster = self._future.result(START_SECONDS)
            _stop(client, cluster)

    def _start(self, verbose: bool) -> None:
        # Ctrl-C reaches every process of the terminal's group. Workers inherit this thread's mask, so that only the command hears it.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._future.set_result(_start_local(self.workers, verbose))
        except Exception as error:  # noqa: BLE001  told to whoever waits in `client`
            self._future.set_exception(ClusterError(f"cannot start Dask workers: {' '.join(str(error).split())}"))


_early: list[EarlyCluster] = []


@contextmanager
def starting_early(workers: int, verbose: bool = False) -> Iterator[None]:
    """Inside, local workers are on their way; the first `open_client` takes them, whatever number it asks for."""
    cluster = EarlyCluster(workers, verbose)
    _early.append(cluster)
    try:
        yield
    finally:
        _early.remove(cluster)
        cluster.stop()


@contextmanager
def open_client(spec: ClusterSpec) -> Iterator["Client"]:
    """A client with at least one worker behind it. ClusterError in one line when there is none."""
    if spec.address is not None:
        with _remote_client(spec.address) as client:
            yield client
    elif _early:
        yield _early[-1].client()
    else:
        cluster = EarlyCluster(spec.workers)
        try:
            yield cluster.client()
        finally:
            cluster.stop()


def _start_local(workers: int, verbose: bool) -> "tuple[Client, LocalCluster]":
    import dask  # noqa: PLC0415  (loading Dask takes a third of a second; whoever only parses a spec does not pay)
    from distributed import Client, LocalCluster  # noqa: PLC0415

    dask.config.set(
        {
            # the first death makes suspects of all shards that were on the worker; the fan-out then tries each alone
            "distributed.scheduler.allowed-failures": 0,
            # a worker that pauses because libraries alone fill most of a small memory would pause for ever
            "distributed.worker.memory.target": False,
            "distributed.worker.memory.spill": False,
            "distributed.worker.memory.pause": False,
            "distributed.worker.memory.terminate": 0.95,
            # else a cluster gives up a worker that a busy machine needs longer than 15 s to start anew, and in the end has none
            "distributed.deploy.lost-worker-timeout": "1 day",
            "distributed.scheduler.worker-ttl": f"{FROZEN_SECONDS} s",
            "distributed.admin.low-level-log-length": 0,
        }
    )
    options: dict[str, Any] = {"n_workers": workers, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    options |= {"host": "127.0.0.1", "protocol": "tcp://", "silence_logs": logging.WARNING if verbose else logging.CRITICAL}
    if not verbose:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # `silence_logs` spares handlers that others have set up
    # without a dashboard the scheduler still serves HTTP: on this machine only, on any free port
    options["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
    cluster = LocalCluster(**options)
    try:
        client = Client(cluster, timeout=CONNECT_SECONDS)
        client.wait_for_workers(1, timeout=START_SECONDS)
        _warm(client)
    except BaseException:
        cluster.close(timeout=1)
        raise
    return client, cluster


def _warm(client: "Client") -> None:
    """Have each worker load its libraries now. Nobody waits for it, and a first shard that comes earlier waits for its end."""
    from distributed import fire_and_forget  # noqa: PLC0415

    for number, address in enumerate(client.nthreads()):
        fire_and_forget(client.submit(warm_up, key=f"warm-up-{number}", workers=[address], pure=False))


def _stop(client: "Client", cluster: "LocalCluster") -> None:
    with suppress(Exception):  # the workers end either way, see below
        client.close(timeout=1)
    for nanny in list(cluster.workers.values()):
        nanny.auto_restart = False
        process = nanny.process
        if process is not None and process.pid:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # asked politely, a worker would finish its shard first
    with suppress(Exception):  # a nanny that misses the worker just killed
        cluster.close(timeout=2)


@contextmanager
def _remote_client(address: str) -> Iterator["Client"]:
    from distributed import Client  # noqa: PLC0415  (see above)

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, ImportError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}") from error
    try:
        _check_workers(client, address)
        yield client
    finally:
        with suppress(Exception):  # nothing is lost when a scheduler that is gone does not hear the goodbye
            client.close(timeout=2)


def _check_workers(client: "Client", address: str) -> None:
    """ClusterError unless there are workers that run this very release."""
    try:
        client.wait_for_workers(1, timeout=WORKERS_SECONDS)
    except TimeoutError as error:
        raise ClusterError(f"the Dask scheduler at {address} has no workers") from error
    try:
        found = client.run(release)
    except Exception as error:  # whatever unpickling brings up on a worker of another kind
        raise ClusterError(f"the workers at {address} cannot run ferflow: {' '.join(str(error).split())[:200]}") from error
    ours = release()
    for worker, theirs in sorted(found.items()):
        if theirs != ours:
            raise ClusterError(f"worker {worker} runs {_told(theirs)}, this command {_told(ours)}: install the same release on both")


def _told(facts: dict[str, str | None]) -> str:
    return f"ferflow {facts['ferflow'] or 'without a version'} on Python {facts['python']}"
