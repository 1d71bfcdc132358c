"""Dask workers of this machine for tests in which workers fail: forked where Dask is loaded already, so that the next one costs little.

Each is a process with a nanny all the same. Workers that are started anew as a command starts them die in `test_workers_command`.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from multiprocessing import forkserver

import dask
import pytest

from tasks.clusters import local
from tasks.clusters.early_start import EarlyCluster
from tasks.clusters.local import LocalCluster


@contextmanager
def quick_workers(processes: int, work: str = "tests.faults.odd_pictures") -> Iterator[EarlyCluster]:
    """So many on their way. They load nothing for pictures. work: the module of what they are to do."""
    server = forkserver._forkserver
    server._stop()  # one that other tests have started has their home and their modules
    before = server._preload_modules
    with pytest.MonkeyPatch.context() as patch, dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        patch.setattr("distributed.utils._forkserver_preload_set", True)
        patch.setattr(local, "_warm", lambda client: None)
        forkserver.set_forkserver_preload(["distributed", work])
        try:
            with closing(EarlyCluster(LocalCluster(processes=processes))) as cluster:
                yield cluster
        finally:
            server._stop()
            server._preload_modules = before
