"""A Dask cluster that runs already: used, and left running."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from distributed import Client, Security

from fer_core.errors import ClusterError
from tasks.cluster_agreement import check_agreement, hush
from tasks.cluster_kinds import AddressCluster
from tasks.cluster_tls import Certificates, check_answer

CONNECT_SECONDS: Final = 8
WORKERS_SECONDS: Final = 10
"""How long a scheduler may be without any worker."""


@contextmanager
def connected_to(spec: AddressCluster) -> Iterator[Client]:
    """A client with workers behind it that run this very release. ClusterError in one line when there is none."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    hush()
    check_answer(spec)
    try:
        client = Client(spec.address, timeout=CONNECT_SECONDS, security=_security(spec))
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


def _security(spec: AddressCluster) -> Security | None:
    if not spec.encrypted:
        return None
    files = Certificates.of(spec)
    return Security(tls_ca_file=files.ca, tls_client_cert=files.cert, tls_client_key=files.key, require_encryption=True)
