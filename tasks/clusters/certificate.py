"""A key and a certificate for one cluster that ferflow starts. Only processes that have them can connect to it."""

from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Security

LIFE: Final = timedelta(days=365)
CLOCKS: Final = timedelta(days=1)
"""Allowed clock difference between the machines of a cluster."""


def ephemeral_tls() -> Security:
    """Like `Security.temporary`, in memory, with an elliptic-curve key: an RSA key takes 50 ms, and 0.5 s on a busy core."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ferflow")]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCKS)
        .not_valid_after(now + LIFE)
        .sign(key, hashes.SHA256())
    )
    shown = certificate.public_bytes(serialization.Encoding.PEM).decode()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    pairs = {f"tls_{who}_{what}": text for who in ("client", "scheduler", "worker") for what, text in (("cert", shown), ("key", secret))}
    return Security(require_encryption=True, tls_ca_file=shown, **pairs)
