"""Workers of this machine, started in the background while something else does."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from fer_core.errors import ClusterError
from tasks.clusters.sizing import cap_workers
from tasks.clusters.spec import GpuCluster, Kind, LocalCluster

if TYPE_CHECKING:
    import distributed

START_SECONDS: Final = 60


class EarlyCluster:
    """Workers of this machine that are on their way."""

    def __init__(self, spec: LocalCluster | GpuCluster, verbose: bool = False) -> None:
        self._future: Future[tuple[distributed.Client, distributed.LocalCluster]] = Future()
        self._thread = threading.Thread(target=self._start, args=(spec, verbose), daemon=True)
        self._thread.start()

    def client(self) -> "distributed.Client":
        """Wait for the workers. ClusterError when they do not start."""
        try:
            return self._future.result(START_SECONDS)[0]
        except TimeoutError as error:
            raise ClusterError(f"Dask workers did not start within {START_SECONDS} s") from error

    def stop(self) -> None:
        """End every process, see `stop_local`."""
        with suppress(Exception):  # whatever kept them from starting was told to whoever waited for the client
            client, cluster = self._future.result(START_SECONDS)
            from tasks.clusters.local import stop_local

            stop_local(client, cluster)

    def _start(self, spec: LocalCluster | GpuCluster, verbose: bool) -> None:
        # Ctrl-C reaches every process of the terminal's group. Workers inherit this thread's mask, so that only the command hears it.
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._future.set_result(_started(spec, verbose))
        except ClusterError as error:
            self._future.set_exception(error)
        except Exception as error:  # noqa: BLE001  told to whoever waits in `client`
            self._future.set_exception(ClusterError(f"cannot start Dask workers: {' '.join(str(error).split()) or type(error).__name__}"))


def _started(spec: LocalCluster | GpuCluster, verbose: bool) -> "tuple[distributed.Client, distributed.LocalCluster]":
    # loading Dask takes a third of a second; whoever only reads a spec does not pay
    if isinstance(spec, GpuCluster):
        from tasks.clusters.gpu import start_gpu

        return start_gpu(spec, verbose)
    from tasks.clusters.local import start_local

    return start_local(spec, verbose)


_early: list[EarlyCluster] = []


@contextmanager
def start_early(spec: Kind, images: int, shard_size: int | None, verbose: bool = False) -> Iterator[None]:
    """Inside, workers of this machine are on their way, none without a shard of its own when there are at most so many images.

    The first `open_client` takes them, whatever size it asks for. Of other kinds of clusters nothing is started.
    """
    if not isinstance(spec, LocalCluster | GpuCluster):
        yield
        return
    cluster = EarlyCluster(cap_workers(spec, images, shard_size) if isinstance(spec, LocalCluster) else spec, verbose)
    _early.append(cluster)
    try:
        yield
    finally:
        _early.remove(cluster)
        cluster.stop()


@contextmanager
def early_or_new_cluster(spec: LocalCluster | GpuCluster) -> "Iterator[distributed.Client]":
    """The client of what is on its way already, else of workers that live as long as this does."""
    if _early:
        yield _early[-1].client()
        return
    cluster = EarlyCluster(spec)
    try:
        yield cluster.client()
    finally:
        cluster.stop()
