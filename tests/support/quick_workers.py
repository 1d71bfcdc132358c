"""Dask workers of this machine for tests in which workers fail: forked where Dask is loaded already, so that the next one costs little.

Each is a process with a nanny all the same. Workers that are started anew as a command starts them die in `test_workers_command`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing import forkserver

import dask
import distributed
import pytest

from tasks.clusters.early_start import EarlyCluster
from tasks.clusters.local import LocalCluster, configure, connected, options
from tasks.clusters.settings import FROZEN_SECONDS


class QuickCluster(LocalCluster):
    """Workers that load nothing for pictures."""

    frozen_seconds: int
    memory: int | str

    def start(self, verbose):
        configure(verbose, self.frozen_seconds)
        given = {"threads_per_worker": self.threads, "memory_limit": self.memory, **options(verbose)}
        cluster = distributed.LocalCluster(n_workers=self.processes, **given)
        return connected(cluster, warm=False), cluster


@contextmanager
def quick_workers(
    processes: int, work: str = "tests.faults.odd_pictures", frozen_seconds: int = FROZEN_SECONDS, memory: int | str = "auto"
) -> Iterator[EarlyCluster]:
    """So many on their way. work: the module of what they are to do. memory: bytes that each may use."""
    server = forkserver._forkserver
    server._stop()  # one that other tests have started has their home and their modules
    before = server._preload_modules
    with pytest.MonkeyPatch.context() as patch, dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        patch.setattr("distributed.utils._forkserver_preload_set", True)
        forkserver.set_forkserver_preload(["distributed", work])
        try:
            with closing(EarlyCluster(QuickCluster(processes=processes, frozen_seconds=frozen_seconds, memory=memory))) as cluster:
                yield cluster
        finally:
            server._stop()
            server._preload_modules = before
