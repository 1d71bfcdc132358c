"""Local workers that start in the background while the command continues."""

import os
import signal
import threading
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Final, Self

from fer_core.errors import ClusterError
from tasks.clusters.base import ClusterBackend
from tasks.execution.process_start import finish_starts, start_whole
from tasks.execution.signals import IMPATIENCE_SECONDS, stop_requested

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

START_SECONDS: Final = 60
WARNINGS: Final = "PYTHONWARNINGS"


class EarlyCluster:
    """Local workers that are starting in a thread."""

    def __init__(self, backend: "LocalBackend", verbose: bool = False) -> None:
        start_resource_tracker()
        start_whole()
        self._future: Future[tuple[Client, LocalCluster]] = Future()
        self._thread = threading.Thread(target=self._start, args=(backend, verbose), daemon=True)
        self._thread.start()

    def client(self) -> "Client":
        """Wait for the workers. ClusterError if they do not start."""
        try:
            return self._future.result(START_SECONDS)[0]
        except TimeoutError as error:
            raise ClusterError(f"Dask workers did not start within {START_SECONDS} s") from error

    def close(self) -> None:
        """Kill every process, see `stop_local`."""
        patience = IMPATIENCE_SECONDS if stop_requested() else START_SECONDS  # the watchdog ends what starts later
        with suppress(Exception):  # `client` has already raised the error of a failed start
            stop_local(*self._future.result(patience))
        if stop_requested():
            finish_starts(IMPATIENCE_SECONDS)

    def _start(self, backend: "LocalBackend", verbose: bool) -> None:
        # Ctrl-C signals every process of the terminal's group. Workers inherit this thread's signal mask, so only the command gets SIGINT.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._future.set_result(backend.start(verbose))
        except ClusterError as error:
            self._future.set_exception(error)
        except Exception as error:  # noqa: BLE001  raised in the thread that waits in `client`
            self._future.set_exception(ClusterError(f"cannot start Dask workers: {' '.join(str(error).split()) or type(error).__name__}"))


def start_resource_tracker() -> None:
    """Start multiprocessing's resource tracker, which else comes with the first worker: it unblocks SIGINT in the thread that starts it,
    and that worker would print a traceback at Ctrl-C.

    Its warning of semaphores that the command left behind, which it removes, is off: the command may end at once.
    """
    before = os.environ.get(WARNINGS)
    os.environ[WARNINGS] = ",".join(filter(None, (before, "ignore:resource_tracker")))
    try:
        resource_tracker.ensure_running()
    finally:
        if before is None:
            del os.environ[WARNINGS]
        else:
            os.environ[WARNINGS] = before


def stop_local(client: "Client", cluster: "LocalCluster") -> None:
    """Kill every process, also during a shard: a shard counts only after its receipt is written."""
    if cluster._adaptive is not None:
        cluster._adaptive.stop()  # otherwise it restarts the workers that are killed here
    with suppress(Exception):  # the workers are killed below in any case
        client.close(timeout=1)
    for nanny in list(cluster.workers.values()):
        nanny.auto_restart = False
        process = nanny.process
        if process is not None and process.pid:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)  # a graceful close would wait for the shard
    with suppress(Exception):  # a nanny may fail because its worker was killed
        cluster.close(timeout=2)


_early: list[EarlyCluster] = []


class LocalBackend(ClusterBackend):
    """A kind of cluster whose workers are processes on this machine."""

    @abstractmethod
    def start(self, verbose: bool) -> "tuple[Client, LocalCluster]":
        """Start the processes, which begin to load their libraries, and connect a client. Errors of the start are raised unchanged."""

    def capped(self, images: int, shard_size: int | None) -> Self:
        """A copy with at most one process per shard of `images` images."""
        return self

    def allowed_name(self) -> str | None:
        return None

    @contextmanager
    def start_early(self, images: int, shard_size: int | None, verbose: bool = False) -> Iterator[None]:
        with closing(EarlyCluster(self.capped(images, shard_size), verbose)) as cluster:
            _early.append(cluster)
            try:
                yield
            finally:
                _early.remove(cluster)

    @contextmanager
    def open_client(self) -> "Iterator[Client]":
        """The client of the workers that `start_early` started; otherwise of new workers that end with the `with` block."""
        if _early:
            yield _early[-1].client()
            return
        with closing(EarlyCluster(self)) as cluster:
            yield cluster.client()
