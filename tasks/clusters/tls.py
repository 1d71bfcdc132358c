"""TLS check of a scheduler's address. Uses only the standard library and runs before Dask is loaded, to raise one clear line early."""

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from fer_core.errors import ClusterError

ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files for mutual TLS authentication."""

    ca: str
    cert: str | None
    key: str | None
    """None if it is in the certificate's file."""

    @classmethod
    def of(cls, address: str, ca: str | None, cert: str | None, key: str | None) -> Self:
        """The given files, with Dask's configuration as default. ClusterError if there is no CA certificate."""
        if ca is None or cert is None:
            import distributed  # noqa: F401  (adds its defaults to Dask's configuration)
            from dask import config

            ca = ca or config.get("distributed.comm.tls.ca-file")
            if cert is None and key is None:
                cert, key = (config.get(f"distributed.comm.tls.client.{name}") for name in ("cert", "key"))
        if ca is None:
            raise ClusterError(f"{address} needs a CA certificate: name it in ca_file or in Dask's distributed.comm.tls.ca-file")
        return cls(_path(ca), cert and _path(cert), key and _path(key))

    def context(self) -> ssl.SSLContext:
        """The same context as Dask's clients use: it checks the CA, not the host name. ClusterError for invalid files."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise ClusterError(f"cannot read the CA certificate {self.ca}: {_plain(error)}") from error
        context.check_hostname = False
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key, password=lambda: "")
            except (OSError, ssl.SSLError) as error:
                both = f"the certificate {self.cert} with the key {self.key or self.cert}"
                raise ClusterError(f"cannot read {both}: {_plain(error)}") from error
        return context


def check_answer(address: str, certificates: Certificates | None) -> None:
    """ClusterError, in one line, unless a scheduler answers at the address and, for `tls://`, each side accepts the other's certificate."""
    context = certificates.context() if certificates else None
    parts = urlsplit(address)
    try:
        line = socket.create_connection((str(parts.hostname), int(parts.port or 0)), ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}") from error
    with line:
        if context is not None and certificates is not None:
            _shake_hands(line, context, certificates, address)


def _shake_hands(line: socket.socket, context: ssl.SSLContext, certificates: Certificates, address: str) -> None:
    try:
        with context.wrap_socket(line) as safe, suppress(TimeoutError):
            if not safe.recv(1):  # a scheduler sends first; a rejected client certificate shows only in this read
                raise ConnectionResetError
    except ssl.SSLCertVerificationError as error:
        why = f"cannot be verified with {certificates.ca} ({error.verify_message})"
        raise ClusterError(f"the certificate of the scheduler at {address} {why}") from error
    except TimeoutError as error:
        raise ClusterError(f"the server at {address} does not use TLS") from error
    except OSError as error:
        reason = str(getattr(error, "reason", None) or "")
        if "ALERT" in reason or isinstance(error, ConnectionError):
            if certificates.cert is None:
                raise ClusterError(f"the scheduler at {address} requires a certificate: name cert_file and key_file") from error
            raise ClusterError(f"the scheduler at {address} does not accept the certificate {certificates.cert}") from error
        raise ClusterError(f"the server at {address} does not use TLS") from error


def _path(file: str) -> str:
    return str(Path(file).expanduser())


def _plain(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "it is no PEM file").lower().replace("_", " ")
    return error.strerror or type(error).__name__
