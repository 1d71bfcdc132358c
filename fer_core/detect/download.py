"""YuNet's file from its public home: the only download by ferflow itself, and only on request.

Trust depends on the digest alone, which is written here: whatever the server sends, only the released file gets its name.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from fer_core.detect.registry import YUNET_FILE, folder
from fer_core.errors import DetectorError, UsageError
from fer_core.hashing import file_sha256
from fer_core.storage.store import open_store
from fer_core.storage.uri import as_store_error, error_text

YUNET_URL: Final = f"https://media.githubusercontent.com/media/opencv/opencv_zoo/main/models/face_detection_yunet/{YUNET_FILE}"
"""OpenCV's model zoo keeps it in Git LFS, whose objects are served under this name; `raw.githubusercontent.com` returns a pointer."""
YUNET_SHA256: Final = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_PIECE: Final = 65536


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """Limits of one download."""

    size: int = 10_000_000
    """Bytes that are read at most; the file has 230 KB."""
    silence: float = 15.0
    """Seconds of connecting, and of each wait for data."""
    whole: float = 300.0
    """Seconds of the whole download: a server that sends a byte now and then is never silent for long."""


LIMITS: Final = DownloadLimits()


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """The file after the call."""

    file: Path
    """Absolute."""
    sha256: str
    size: int
    """Bytes."""
    downloaded: bool
    """False when it was there already."""


def download_yunet(
    to: Path | None = None, url: str = YUNET_URL, *, sha256: str = YUNET_SHA256, limits: DownloadLimits = LIMITS
) -> DownloadResult:
    """Download YuNet's file into the folder `to`, by default the folder of detector files, unless it is there.

    sha256: of the released file. A file of that name with another content is replaced once the right one is complete. UsageError: not an
    address to download from. DetectorError: the download fails, or is not YuNet's file. StoreError: the folder cannot be written.
    """
    file = (to or folder()).expanduser().absolute() / YUNET_FILE
    with as_store_error("read", str(file)):
        if file.is_file() and file_sha256(file) == sha256:
            return DownloadResult(file, sha256, file.stat().st_size, downloaded=False)
    shown = _shown(url)
    store = open_store(str(file.parent))
    store.check_writable()
    data = _fetched(url, shown, limits)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DetectorError(f"{shown} is not YuNet's file: its sha256 is {found}, it should be {sha256}; the download was discarded")
    store.write_bytes(YUNET_FILE, data)
    return DownloadResult(file, found, len(data), downloaded=True)


def _shown(url: str) -> str:
    """The address without parts that may be secret."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  (raises where it is no number)
    except ValueError as error:
        raise UsageError(f"not an address: {error}") from error
    if parts.username is not None:
        raise UsageError("credentials do not belong in --url: logs would contain them")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"--url is an http or https address: {url!r}")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _fetched(url: str, shown: str, limits: DownloadLimits) -> bytes:
    """The response, in memory: it is small, and a kill leaves no file."""
    request = urllib.request.Request(url, headers={"User-Agent": "ferflow"})
    try:
        with urllib.request.urlopen(request, timeout=limits.silence) as response:
            return _body(response, shown, limits)
    except urllib.error.HTTPError as error:
        error.close()
        raise DetectorError(f"cannot download YuNet: {shown} answers {error.code} {http.client.responses.get(error.code, '')}") from error
    except TimeoutError as error:
        raise DetectorError(f"cannot download YuNet: {shown} sent nothing for {limits.silence:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise DetectorError(f"cannot download YuNet: {shown} sent nothing for {limits.silence:g} s") from error
        why = error_text(error.reason) if isinstance(error.reason, BaseException) else error.reason
        raise DetectorError(f"cannot download YuNet from {shown}: {why}; is this machine online?") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a host or path that no request can carry
        raise DetectorError(f"cannot download YuNet from {shown}: {error_text(error)}") from error


def _body(response: http.client.HTTPResponse, shown: str, limits: DownloadLimits) -> bytes:
    """The whole body, within the limits of size and time."""
    promised = response.length
    until, data = time.monotonic() + limits.whole, bytearray()
    if promised is not None and promised > limits.size:
        raise DetectorError(f"{shown} is not YuNet's file: it has {promised:,} bytes, more than {limits.size:,}")
    while piece := response.read1(_PIECE):  # read would wait for a whole piece, however slowly it comes
        data += piece
        if len(data) > limits.size:
            raise DetectorError(f"{shown} is not YuNet's file: it has more than {limits.size:,} bytes")
        if time.monotonic() > until:
            raise DetectorError(f"cannot download YuNet: {shown} takes longer than {limits.whole:g} s")
    if promised is not None and len(data) < promised:
        raise DetectorError(f"cannot download YuNet: the connection to {shown} ended after {len(data):,} of {promised:,} bytes")
    return bytes(data)
