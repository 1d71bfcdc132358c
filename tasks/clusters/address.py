"""An existing Dask cluster, which the run connects to and does not shut down."""

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from fer_core.errors import ClusterError, UsageError
from fer_core.storage.uri import holds_credentials
from tasks.clusters.base import ClusterBackend
from tasks.clusters.tls import Certificates, check_answer

if TYPE_CHECKING:
    from distributed import Client, Security
    from tornado.ioloop import IOLoop

ASSUMED_CONCURRENCY: Final = 32
"""Assumed number of workers of an existing scheduler, which planning does not contact. More shards cost little, idle workers much."""
CONNECT_SECONDS: Final = 8
WORKERS_SECONDS: Final = 10
"""How long to wait for a first worker of the scheduler."""
END_SECONDS: Final = 5
_ADDRESS: Final = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/@]+:\d+")


class AddressCluster(ClusterBackend):
    """An existing Dask cluster."""

    model_config = ConfigDict(title="Address")

    kind: Literal["address"] = Field(default="address", title="Kind")
    address: str = Field(
        title="Scheduler",
        description="tls://host:8786. Behind tcp://host:8786 every client is accepted, and a client runs code as the workers' user.",
        examples=["tcp://scheduler:8786", "tls://scheduler:8786"],
    )
    ca_file: str | None = Field(
        default=None, title="CA certificate", description="File (PEM) on the machine of the run. If empty, from Dask's configuration."
    )
    cert_file: str | None = Field(default=None, title="Certificate", description="File (PEM) with the certificate of the run.")
    key_file: str | None = Field(
        default=None, title="Key", description="File (PEM) of the certificate's key; empty where both are in one file."
    )

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        if holds_credentials(value) or "@" in value:
            raise ValueError("credentials do not belong in an address; put them into the environment")
        if not _ADDRESS.fullmatch(value.rstrip("/")):
            raise ValueError("a scheduler's address is tcp://host:port or tls://host:port")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _files_for_tls(self) -> Self:
        if (self.ca_file or self.cert_file or self.key_file) and not self.encrypted:
            raise ValueError("certificates are for tls:// addresses")
        return self

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS, with certificates on both sides."""
        return self.address.startswith(("tls://", "wss://"))

    def certificates(self) -> Certificates | None:
        """Certificate files; None without TLS. ClusterError if one is not configured."""
        return Certificates.of(self.address, self.ca_file, self.cert_file, self.key_file) if self.encrypted else None

    @classmethod
    def from_words(cls, text: str) -> Self | None:
        return cls(address=text) if _ADDRESS.fullmatch(text.rstrip("/")) else None

    def as_text(self) -> str:
        return self.address if self == AddressCluster(address=self.address) else super().as_text()

    def with_workers(self, workers: int | None) -> Self:
        if workers is None:
            return self
        raise UsageError("--workers is for local clusters: a running scheduler has workers of its own")

    def max_concurrency(self) -> int:
        return 1

    def planning_concurrency(self) -> int:
        return ASSUMED_CONCURRENCY

    def allowed_name(self) -> str | None:
        return None if _is_loopback(urlsplit(self.address).hostname or "") else self.address

    def code(self) -> tuple[object, ...]:
        return self.kind, self.address

    def check(self) -> None:
        check_answer(self.address, self.certificates())

    @contextmanager
    def open_client(self, connect_seconds: float = CONNECT_SECONDS, workers_seconds: float = WORKERS_SECONDS) -> "Iterator[Client]":
        from distributed import Client

        from tasks.clusters.versions import check_agreement, silence_version_warning

        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        silence_version_warning()
        self.check()
        with _loop() as loop:
            try:
                client = Client(self.address, timeout=connect_seconds, security=_security(self.certificates()), loop=loop)
            except (OSError, ValueError, ImportError) as error:
                raise ClusterError(f"no Dask scheduler answers at {self.address}") from error
            try:
                try:
                    client.wait_for_workers(1, timeout=workers_seconds)
                except TimeoutError as error:
                    raise ClusterError(f"the Dask scheduler at {self.address} has no workers") from error
                check_agreement(client, self.address)
                yield client
            finally:
                with suppress(Exception):  # closing fails if the scheduler has exited; nothing is lost
                    client.close(timeout=2)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@contextmanager
def _loop() -> "Iterator[IOLoop]":
    """An event loop in a thread, for the client. A loop of the client's own outlives a client that cannot connect or close."""
    from tornado.ioloop import IOLoop

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


def _security(files: Certificates | None) -> "Security | None":
    if files is None:
        return None
    from distributed import Security

    return Security(tls_ca_file=files.ca, tls_client_cert=files.cert, tls_client_key=files.key, require_encryption=True)
