"""Dask workers that are processes of this machine."""

import logging
import os
import signal
from contextlib import suppress
from typing import Any, Final

import dask
from distributed import Client, LocalCluster, fire_and_forget

from fer_core.storage.file_mode import temporary_folder
from tasks.clusters.certificate import ephemeral_tls
from tasks.clusters.settings import ENVIRONMENT, IDLE_LOOKS, settings
from tasks.clusters.sizing import max_size, min_size, processes, threads_of
from tasks.clusters.spec import Adaptive
from tasks.clusters.spec import LocalCluster as LocalSpec
from tasks.execution.worker_entrypoint import warm_up

CONNECT_SECONDS: Final = 8
START_SECONDS: Final = 60


def start_local(spec: LocalSpec, verbose: bool) -> tuple[Client, LocalCluster]:
    """The processes, each with its libraries on the way, and a client. Whatever keeps them from starting is raised as it is."""
    configure(verbose)
    size = spec.processes or processes()
    network_threads = os.environ.get("FERFLOW_THREADS") or str(threads_of(max_size(size) * spec.threads))
    given = {**options(verbose), "env": {"FERFLOW_THREADS": network_threads}}
    cluster = LocalCluster(n_workers=min_size(size), threads_per_worker=spec.threads, **given)
    client = connected(cluster)
    if isinstance(size, Adaptive):
        cluster.adapt(minimum=size.minimum, maximum=size.maximum, wait_count=IDLE_LOOKS)
    return client, cluster


def configure(verbose: bool) -> None:
    """Dask in this process, before the scheduler is made."""
    dask.config.set({**settings(), "temporary-directory": temporary_folder()})
    dask.config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in ENVIRONMENT.items()})
    # else a cluster gives up a worker that a busy machine needs longer than 15 s to start anew, and in the end has none
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 day"})
    if not verbose:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # `silence_logs` spares handlers that others have set up


def options(verbose: bool) -> dict[str, Any]:
    """Of a cluster that nobody outside this machine reaches, and on it only who has its certificate: whoever connects runs code here.

    `security`: a key and a certificate made for this cluster, kept in memory; workers get them through the pipe that starts them.
    """
    return {
        "processes": True,
        "host": "127.0.0.1",
        "protocol": "tls://",
        "security": ephemeral_tls(),
        "silence_logs": logging.WARNING if verbose else logging.CRITICAL,
        "dashboard_address": None,
        # without a dashboard the scheduler still serves HTTP: on this machine only, on any free port
        "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
    }


def connected(cluster: LocalCluster) -> Client:
    """A client once there is a worker. The cluster is closed where there is none."""
    client = None
    try:
        client = Client(cluster, timeout=CONNECT_SECONDS)
        client.wait_for_workers(1, timeout=START_SECONDS)
        _warm(client)
    except BaseException:
        if client is not None:
            with suppress(Exception):  # the error that is raised matters more
                client.close(timeout=1)  # or it would keep the thread of the two
        cluster.close(timeout=1)
        raise
    return client


def stop_local(client: Client, cluster: LocalCluster) -> None:
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


def _warm(client: Client) -> None:
    """Have each worker load its libraries now. Nobody waits for it, and a first shard that comes earlier waits for its end."""
    for number, address in enumerate(client.nthreads()):
        fire_and_forget(client.submit(warm_up, key=f"warm-up-{number}", workers=[address], pure=False))
