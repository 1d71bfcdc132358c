"""Addresses of bytes: the storage of a URL, the image URI of a path, and storage failures as one line.

An image URI is the path itself: absolute on local disks, `s3://bucket/key` in object stores, neither percent-encoded nor normalised. The
one exception are local names that are no text (not UTF-8), which no table can hold: they are written as RFC 8089 file URIs,
`file:///photos/caf%E9.jpg`. Plain paths start with `/`, so the two never collide.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import fsspec
from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from fer_core.errors import AccessError, FerflowError, OutageError, StoreError
from fer_core.storage.retry import is_auth_error, is_transient
from fer_core.storage.s3 import client_options

OBJECT_STORES: Final = ("s3", "s3a", "gs", "gcs", "az", "abfs", "memory")
"""Storage besides local disks. Web addresses are excluded: a list of images must not make workers download from anywhere."""

S3: Final = frozenset({"s3", "s3a"})
VERSION: Final = "?versionId="

CREDENTIALS: Final = "credentials do not belong in an address: put them into the environment or a profile"
NAME_BYTES: Final = 4096
"""Longest name that anything can have (Linux's PATH_MAX; S3's keys have 1,024 bytes at most)."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
"""Matched at the start only: tried at each place of a long name it takes quadratic time, and finds a scheme amid a path."""
_FILE_URI: Final = "file://"


def scheme(url: str) -> str:
    """`s3` of `s3://bucket/key`, `file` of any local path."""
    match = _SCHEME.match(url)
    return match[1].lower() if match else "file"


def after_scheme(url: str) -> str:
    """`bucket/key` of `s3://bucket/key`; a path without a scheme as it is."""
    match = _SCHEME.match(url)
    return url[match.end() :] if match else url


def is_too_long(name: str) -> bool:
    """Whether a name, an image URI or an entry of a list, is longer than any possible one."""
    return 4 * len(name) > NAME_BYTES and len(_encoded(name)) > NAME_BYTES


def cut_short(name: str) -> str:
    """A name that is too long, shortened for storage and transfer: still too long for any file, and unique."""
    data = _encoded(name)
    return f"{data[:NAME_BYTES].decode(errors='ignore')}… ({len(data):,} bytes, SHA-256 {hashlib.sha256(data).hexdigest()})"


def _encoded(name: str) -> bytes:
    return local_path(name).encode(errors="surrogateescape")


def without_credentials(url: str) -> str:
    """An address with stars in the place of its credentials: it may be stored, and is refused like the address itself."""
    behind = after_scheme(url).rpartition("@")[2] if "@" in url else ""
    return f"{scheme(url)}://***:***@{'' if ':' in behind.partition('/')[0] else behind}"


def holds_credentials(url: str) -> bool:
    """Whether there is a key or a password before the bucket or host, as in `s3://key:secret@bucket`.

    Addresses are stored with every row and shown by the orchestrator. Amazon's secret keys may hold slashes, so a colon before the first
    one is enough: no bucket's name has one, but for the ARNs of access points.
    """
    kind, rest = scheme(url), after_scheme(url)
    place = rest.partition("/")[0]
    if kind in {"file", "local"} or place.startswith("arn:"):
        return False
    if "@" in place:
        return ":" in place or kind not in {"az", "abfs"}  # their containers are written container@account
    return ":" in place and (kind in OBJECT_STORES or ("@" in rest and not place.rpartition(":")[2].isdigit()))


def refuse_credentials(url: str) -> None:
    """StoreError, which does not repeat the address."""
    if holds_credentials(url):
        raise StoreError(CREDENTIALS)


def split(url: str) -> tuple[AbstractFileSystem, str]:
    """URL -> fsspec filesystem and the path in it. StoreError for storage that is unknown, not installed or wrongly configured."""
    kind = scheme(url)
    if kind in {"file", "local"}:
        return LocalFileSystem(), os.path.abspath(after_scheme(url))
    refuse_credentials(url)
    if kind not in OBJECT_STORES:
        raise StoreError(f"{kind}:// storage is not supported")
    path = after_scheme(url)
    if kind in S3 and VERSION in path:
        raise StoreError(f"cannot open {url}: the S3 client reads {VERSION} in a name as an object version")
    with as_store_error("open", url):
        try:
            options = client_options(os.environ) if kind in S3 else {}
            # without the cache a listing never hides what another process has written
            fs = fsspec.filesystem(kind, use_listings_cache=False, **options)
        except (ImportError, ValueError) as error:
            raise StoreError(f"{kind}:// needs a package that is not installed: {error_text(error)}") from error
    if kind in S3:
        fs.retries = 1  # it would multiply the tries of the client below it (`s3.TRIES`) by 5, and those of reading by 25
    return fs, f"/{path.strip('/')}" if kind == "memory" else path


def unsplit(fs: AbstractFileSystem, path: str) -> str:
    """The URL of a path in a filesystem: the plain path on local disks, `memory://a/b`, `s3://bucket/key`, verbatim."""
    if isinstance(fs, LocalFileSystem):
        return path
    kind = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    return f"{kind}:/{path}" if path.startswith("/") else f"{kind}://{path}"


@contextmanager
def as_store_error(action: str, where: str) -> Iterator[None]:
    """Errors of a storage inside become a StoreError `cannot <action> <where>: <why>`, an OutageError where they are transient and
    an AccessError where credentials are refused."""
    try:
        yield
    except FerflowError:
        raise
    except storage_exceptions() as error:
        kind = AccessError if is_auth_error(error) else OutageError if is_transient(error) else StoreError
        raise kind(f"cannot {action} {where}: {error_text(error)}") from error


def storage_exceptions() -> tuple[type[BaseException], ...]:
    """Exceptions of storage: OSError, and the S3 client's own errors, which exist only once that client is loaded."""
    names = (
        ("botocore.exceptions", "BotoCoreError"),
        ("botocore.exceptions", "ClientError"),
        ("botocore.parsers", "ResponseParserError"),
        ("aiohttp", "ClientError"),
    )
    return (OSError, *(getattr(sys.modules[module], name) for module, name in names if module in sys.modules))


def error_text(error: BaseException) -> str:
    """The reason, in one line without a final stop."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = text.rpartition("Detail: [errno ")[2].partition("] ")[2] or text  # Arrow prepends its own text to the system's
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def local_uri(path: str) -> str:
    """Image URI of an absolute local path as the operating system gives it (undecodable bytes as lone surrogates)."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _FILE_URI + quote(os.fsencode(path))
    return path


def local_path(uri: str) -> str:
    """The inverse of `local_uri`."""
    return os.fsdecode(unquote_to_bytes(uri.removeprefix(_FILE_URI))) if uri.startswith(_FILE_URI) else uri
