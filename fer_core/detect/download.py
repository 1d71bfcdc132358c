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
LARGEST: Final = 10_000_000
"""Bytes that are read at most; the file has 230 KB."""
SILENCE_SECONDS: Final = 15.0
"""Timeout of connecting, and of each wait for data."""
WHOLE_SECONDS: Final = 300.0
"""Limit on the whole download: a server that sends a byte now and then never exceeds the other one."""
_PIECE: Final = 65536


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


def download_yunet(to: Path | None = None, url: str = YUNET_URL) -> DownloadResult:
    """Download YuNet's file into the folder `to`, by default the folder of detector files, unless it is there.

    A file of that name with another content is replaced once the right one is complete. UsageError: not an address to download from.
    DetectorError: the download fails, or is not YuNet's file. StoreError: the folder cannot be written.
    """
    file = (to or folder()).expanduser().absolute() / YUNET_FILE
    with as_store_error("read", str(file)):
        if file.is_file() and file_sha256(file) == YUNET_SHA256:
            return DownloadResult(file, YUNET_SHA256, file.stat().st_size, downloaded=False)
    shown = _shown(url)
    store = open_store(str(file.parent))
    store.check_writable()
    data = _fetched(url, shown)
    found = hashlib.sha256(data).hexdigest()
    if found != YUNET_SHA256:
        raise DetectorError(f"{shown} is not YuNet's file: its sha256 is {found}, it should be {YUNET_SHA256}; the download was discarded")
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


def _fetched(url: str, shown: str) -> bytes:
    """The response, in memory: it is small, and a kill leaves no file."""
    request = urllib.request.Request(url, headers={"User-Agent": "ferflow"})
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_SECONDS) as response:
            return _body(response, shown)
    except urllib.error.HTTPError as error:
        error.close()
        raise DetectorError(f"cannot download YuNet: {shown} answers {error.code} {http.client.responses.get(error.code, '')}") from error
    except TimeoutError as error:
        raise DetectorError(f"cannot download YuNet: {shown} sent nothing for {SILENCE_SECONDS:g} s") from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise DetectorError(f"cannot download YuNet: {shown} sent nothing for {SILENCE_SECONDS:g} s") from error
        why = error_text(error.reason) if isinstance(error.reason, BaseException) else error.reason
        raise DetectorError(f"cannot download YuNet from {shown}: {why}; is this machine online?") from error
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: a host or path that no request can carry
        raise DetectorError(f"cannot download YuNet from {shown}: {error_text(error)}") from error


def _body(response: http.client.HTTPResponse, shown: str) -> bytes:
    """The whole body, within the limits of size and time."""
    promised = response.length
    until, data = time.monotonic() + WHOLE_SECONDS, bytearray()
    if promised is not None and promised > LARGEST:
        raise DetectorError(f"{shown} is not YuNet's file: it has {promised:,} bytes, more than {LARGEST:,}")
    while piece := response.read1(_PIECE):  # read would wait for a whole piece, however slowly it comes
        data += piece
        if len(data) > LARGEST:
            raise DetectorError(f"{shown} is not YuNet's file: it has more than {LARGEST:,} bytes")
        if time.monotonic() > until:
            raise DetectorError(f"cannot download YuNet: {shown} takes longer than {WHOLE_SECONDS:g} s")
    if promised is not None and len(data) < promised:
        raise DetectorError(f"cannot download YuNet: the connection to {shown} ended after {len(data):,} of {promised:,} bytes")
    return bytes(data)
