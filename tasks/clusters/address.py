"""A Dask cluster that runs already: used, and left running."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Final

from distributed import Client, Security
from tornado.ioloop import IOLoop

from fer_core.errors import ClusterError
from tasks.clusters.spec import AddressCluster
from tasks.clusters.tls import Certificates, check_answer
from tasks.clusters.versions import check_agreement, silence_version_warning

CONNECT_SECONDS: Final = 8
WORKERS_SECONDS: Final = 10
"""How long a scheduler may be without any worker."""
END_SECONDS: Final = 5


@contextmanager
def connect(spec: AddressCluster) -> Iterator[Client]:
    """A client with workers behind it that run this very release. ClusterError in one line when there is none."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    silence_version_warning()
    check_answer(spec)
    with _loop() as loop:
        try:
            client = Client(spec.address, timeout=CONNECT_SECONDS, security=_security(spec), loop=loop)
        except (OSError, ValueError, ImportError) as error:
            raise ClusterError(f"no Dask scheduler answers at {spec.address}") from error
        try:
            try:
                client.wait_for_workers(1, timeout=WORKERS_SECONDS)
            except TimeoutError as error:
                raise ClusterError(f"the Dask scheduler at {spec.address} has no workers") from error
            check_agreement(client, spec.address)
            yield client
        finally:
            with suppress(Exception):  # nothing is lost when a scheduler that is gone does not hear the goodbye
                client.close(timeout=2)


@contextmanager
def _loop() -> Iterator[IOLoop]:
    """A thread in which a client waits. One of the client's own outlives a client that finds no scheduler, or cannot say goodbye."""
    begun: Future[tuple[IOLoop, asyncio.Event]] = Future()

    async def wait() -> None:
        end = asyncio.Event()
        begun.set_result((IOLoop.current(), end))
        await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(wait()), name="client of a cluster", daemon=True)
    thread.start()
    loop, end = begun.result()
    try:
        yield loop
    finally:
        loop.add_callback(end.set)
        thread.join(END_SECONDS)


def _security(spec: AddressCluster) -> Security | None:
    if not spec.encrypted:
        return None
    files = Certificates.of(spec)
    return Security(tls_ca_file=files.ca, tls_client_cert=files.cert, tls_client_key=files.key, require_encryption=True)
