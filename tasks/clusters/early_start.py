"""Workers of this machine, started in the background while something else does."""

import os
import signal
import threading
from abc import abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Final, Self

from fer_core.errors import ClusterError
from tasks.clusters.base import ClusterBackend

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

START_SECONDS: Final = 60


class EarlyCluster:
    """Workers of this machine that are on their way."""

    def __init__(self, backend: "LocalBackend", verbose: bool = False) -> None:
        self._future: Future[tuple[Client, LocalCluster]] = Future()
        self._thread = threading.Thread(target=self._start, args=(backend, verbose), daemon=True)
        self._thread.start()

    def client(self) -> "Client":
        """Wait for the workers. ClusterError when they do not start."""
        try:
            return self._future.result(START_SECONDS)[0]
        except TimeoutError as error:
            raise ClusterError(f"Dask workers did not start within {START_SECONDS} s") from error

    def close(self) -> None:
        """End every process, see `stop_local`."""
        with suppress(Exception):  # whatever kept them from starting was told to whoever waited for the client
            stop_local(*self._future.result(START_SECONDS))

    def _start(self, backend: "LocalBackend", verbose: bool) -> None:
        # Ctrl-C reaches every process of the terminal's group. Workers inherit this thread's mask, so that only the command hears it.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._future.set_result(backend.start(verbose))
        except ClusterError as error:
            self._future.set_exception(error)
        except Exception as error:  # noqa: BLE001  told to whoever waits in `client`
            self._future.set_exception(ClusterError(f"cannot start Dask workers: {' '.join(str(error).split()) or type(error).__name__}"))


def stop_local(client: "Client", cluster: "LocalCluster") -> None:
    """End every process. Takes no heed of shards at work: what they have staged so far counts for nothing or in full."""
    if cluster._adaptive is not None:
        cluster._adaptive.stop()  # or it would replace what is ended here
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


_early: list[EarlyCluster] = []


class LocalBackend(ClusterBackend):
    """A kind of cluster whose workers are processes of this machine."""

    @abstractmethod
    def start(self, verbose: bool) -> "tuple[Client, LocalCluster]":
        """The processes, each with its libraries on the way, and a client. Whatever keeps them from starting is raised as it is."""

    def capped(self, images: int, shard_size: int | None) -> Self:
        """The same with no process that would have no shard of its own when there are at most so many images."""
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
        """The client of what is on its way already, else of workers that live as long as this does."""
        if _early:
            yield _early[-1].client()
            return
        with closing(EarlyCluster(self)) as cluster:
            yield cluster.client()
