"""All access to bytes: a labels root or an image, on a local disk, in memory or in an object store, through fsspec.

Local paths are passed to the operating system verbatim: no percent-decoding, no globbing, no `::` chaining.
"""

import errno
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from tempfile import TemporaryDirectory
from typing import Final, Self, TypeVar

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem

from fer_core.errors import ImageError, OutageError, StoreError
from fer_core.storage import file_mode, local
from fer_core.storage.file_mode import FileMode
from fer_core.storage.local_image import read_local, too_large
from fer_core.storage.retry import DEFAULT_RETRY, IMAGE_RETRY, NO_RETRY, RetryPolicy, is_auth_error, is_transient
from fer_core.storage.uri import (
    NAME_BYTES,
    OBJECT_STORES,
    as_store_error,
    error_text,
    holds_credentials,
    is_too_long,
    local_path,
    scheme,
    split,
    storage_exceptions,
    unsplit,
)
from fer_core.tables.schema import MISSING, UNREADABLE, UNSUPPORTED

T = TypeVar("T")

REQUESTS_AT_ONCE: Final = 16
SINGLE_PUT: Final = 4 * 2**30
"""S3 takes objects up to 5 GB in one PUT; either the whole object is there afterwards or nothing is."""

_UNFINISHED: Final = re.compile(r"\..*\.[0-9a-f]{16}\.tmp")


@dataclass(frozen=True, slots=True)
class Store:
    """A labels root. Every path given to it or got from it is relative to the root, with `/` between names and no `..`.

    All methods raise StoreError with one line when the storage fails, OutageError when all retries have failed. All may be called from
    several threads, and all may be repeated: a failure may have come after the effect.
    """

    fs: AbstractFileSystem
    """fsspec filesystem without listing cache."""
    root: str
    """Where the root is inside `fs`, without a trailing slash."""
    patience: RetryPolicy = DEFAULT_RETRY

    def without_retries(self) -> Self:
        """The same, with one attempt a request."""
        return replace(self, patience=NO_RETRY)

    @property
    def local(self) -> bool:
        """Whether the root is a folder of this machine."""
        return isinstance(self.fs, LocalFileSystem)

    def url(self, path: str = "") -> str:
        """Address for people and other programs: an absolute local path, or `s3://bucket/key`."""
        return unsplit(self.fs, self._full(path))

    def read_bytes(self, path: str) -> bytes:
        """The content of one file."""
        return self._ask("read", path, self._content)

    def write_bytes(self, path: str, data: bytes) -> None:
        """Create or replace one file in one step: a concurrent reader sees the old content or the new, never a part."""

        def write(full: str) -> None:
            if self.local:
                local.replace_file(full, data, file_mode.mode_of(self.root))
            else:
                self.fs.pipe_file(full, data, **({"chunksize": SINGLE_PUT} if "s3" in self.fs.protocol else {}))

        self._ask("write", path, write)

    @contextmanager
    def replacing(self, path: str) -> Iterator[str]:
        """A local file for the block to fill, of any size. When the block ends it becomes the file at `path`, in one step as with
        `write_bytes`; where the block raises, nothing has happened.
        """
        with as_store_error("write", self.url(path)):
            if self.local:
                with local.replacing(self._full(path), file_mode.mode_of(self.root)) as unfinished:
                    yield unfinished
                return
            with TemporaryDirectory(prefix="ferflow-") as folder:
                yield f"{folder}/whole"
                self._ask("write", path, lambda full: self.fs.put_file(f"{folder}/whole", full))

    def move(self, source: str, target: str) -> None:
        """Rename one file, replacing what is there; object stores copy, then delete. Nothing happens where an earlier call came as far."""

        def rename(full: str) -> None:
            try:
                self._rename(full, self._full(target))
            except FileNotFoundError:
                if not self._is_file(self._full(target)):
                    raise

        self._ask("move", source, rename)
        if not self.local:
            self._ask("move", source, self._remove_object)

    def exists(self, path: str) -> bool:
        """Whether there is a file of that name. Raises where the storage does not answer."""
        return self._ask("look for", path, self._is_file)

    def list_files(self, folder: str = "") -> list[str]:
        """All files below a folder, sorted; none where the folder is absent. Unfinished writes are left out.

        Listings of some object stores lag: what was just written may be missing, what was just removed may still be named; `read_bytes` and
        `exists` are accurate.
        """
        return [path for path in self._below(folder) if not _UNFINISHED.fullmatch(path.rpartition("/")[2])]

    def list_unfinished(self, folder: str = "") -> list[str]:
        """Those that `list_files` leaves out: what is being written, or was when its writer was killed. On local disks only."""
        return [path for path in self._below(folder) if _UNFINISHED.fullmatch(path.rpartition("/")[2])] if self.local else []

    def newest(self, path: str) -> float | None:
        """When a file, or the newest of those below a folder, was written, in seconds since the epoch by the storage's clock; or None."""
        return self._ask("look at", path, lambda full: max(local.moments_below(full) if self.local else self._moments(full), default=None))

    def remove_file(self, path: str) -> None:
        """Delete one file; nothing happens where it is absent."""
        self._ask("remove", path, self._remove_object)

    def remove_tree(self, folder: str) -> None:
        """Delete a folder with all that is below; nothing happens where it is absent."""
        if not folder.strip("/"):
            raise ValueError("the root itself is not removed")
        if self.local:
            return self._ask("remove", folder, local.remove_folder)
        # not fs.rm(recursive=True): it reads `*` and `[` in names as patterns
        paths = self._ask("remove", folder, self._objects)
        with as_store_error("remove", self.url(folder)):
            self.for_each(lambda path: self.patience.call(lambda: self._remove_object(path)), paths)

    def for_each(self, work: Callable[[str], object], paths: Sequence[str]) -> None:
        """Do some work on each of several files, of which none needs another: `REQUESTS_AT_ONCE` at a time in object stores, where each
        request waits for its answer; one after another on a local disk.

        All have ended when this returns or raises. After an error no further one begins; the first one's, in order of paths, is raised.
        """
        if self.local or len(paths) < 2:
            for path in paths:
                work(path)
            return
        with ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="store") as pool:
            list(pool.map(work, paths))

    def settle(self, mode: FileMode | None) -> None:
        """Set the permissions of present and future files of a local labels root. None: unchanged, for its owner in a new root."""
        if self.local and mode is not None:
            self._ask("write to", "", lambda root: file_mode.settle(root, mode))

    def check_writable(self) -> None:
        """Create the root and write, read and remove a small file in it. StoreError with the reason in one line where that fails."""
        if self.local and os.path.isfile(self.root):
            raise StoreError(f"cannot write to {self.root}: it is a file, not a folder")
        probe = self._full(f".ferflow-probe-{secrets.token_hex(8)}")

        def write(_: str) -> None:
            if self.local:
                local.replace_file(probe, b"ferflow", file_mode.mode_of(self.root))
            else:
                self.fs.pipe_file(probe, b"ferflow")
            if self.fs.cat_file(probe) != b"ferflow":
                raise StoreError(f"cannot write to {self.url()}: the data read back differ")
            self._remove_object(probe)

        self._ask("write to", "", write)

    def _below(self, folder: str) -> list[str]:
        found = self._ask("list", folder, lambda full: list(local.files_below(full)) if self.local else self._objects(full))
        inside = len(self.root.rstrip("/")) + 1
        return sorted(path[inside:] for path in found)

    def _ask(self, action: str, path: str, question: Callable[[str], T]) -> T:
        """The result of a request for one full path."""
        full = self._full(path)
        with as_store_error(action, self.url(path)):
            return self.patience.call(lambda: question(full))

    def _content(self, full: str) -> bytes:
        if self.local:
            return bytes(self.fs.cat_file(full))
        size = self.fs.info(full)["size"]
        # with a start, or s3fs requests the size once more; an empty object has no range
        data = bytes(self.fs.cat_file(full, start=0)) if size else b""
        _check_whole(data, size)
        return data

    def _is_file(self, full: str) -> bool:
        try:
            return bool(self.fs.info(full)["type"] == "file")
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _full(self, path: str) -> str:
        if path.startswith("/") or ".." in path.split("/"):
            raise ValueError(f"not a path below the root: {path}")
        return f"{self.root.rstrip('/')}/{path}".rstrip("/") or "/"

    def _rename(self, source: str, target: str) -> None:
        """In object stores only the first half of it."""
        if self.local:
            if not os.path.lexists(source):
                raise FileNotFoundError(2, "no such file", source)
            file_mode.make_folders(os.path.dirname(target), file_mode.mode_of(self.root))
            os.replace(source, target)
            local.sync_folder(os.path.dirname(target))
        else:
            self.fs.cp_file(source, target)

    def _objects(self, full: str) -> list[str]:
        try:
            return [str(path) for path in self.fs.find(full)]
        except FileNotFoundError:
            return []

    def _moments(self, full: str) -> list[float]:
        try:
            found = self.fs.find(full, detail=True).values()
        except FileNotFoundError:
            return []
        moments = [info.get("LastModified", info.get("created")) for info in found]
        return [moment.timestamp() if isinstance(moment, datetime) else float(moment) for moment in moments]

    def _remove_object(self, full: str) -> None:
        with suppress(FileNotFoundError):
            self.fs.rm_file(full)


def open_store(url: str) -> Store:
    """The labels root at a local path (absolute, relative or `file://`) or an object store's URL. Nothing is touched yet."""
    fs, path = split(url)
    if not path.strip("/") and not isinstance(fs, LocalFileSystem):
        raise StoreError(f"{url} names no bucket")
    return Store(fs, path.rstrip("/") or "/")


def read_uri(uri: str, limit: int, listed: int | None = None) -> bytes:
    """The bytes of one image.

    uri: as `inventory.list_images` writes it. limit: most bytes to read. listed: its size as far as known; where fewer come, a request to
    the storage checks whether that was all. ImageError with status `missing`, `too_large`, `unreadable` (permission) or `unsupported` (a
    folder, a pipe, a device: never opened, so a read never blocks on it); StoreError when the storage fails with this image, OutageError
    when it does not answer at all, AccessError when it does not accept the client.
    """
    if is_too_long(uri):
        raise ImageError(UNSUPPORTED, f"a name of more than {NAME_BYTES:,} bytes")
    with as_store_error("read", uri):
        try:
            data = read_local(local_path(uri), limit) if scheme(uri) == "file" else _read_object(uri, limit, listed)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ImageError(MISSING, "the file is not there") from error
        except PermissionError as error:
            if is_auth_error(error):
                raise
            raise ImageError(UNREADABLE, "permission denied") from error
    if len(data) > limit:
        raise too_large(limit)
    return data


def _read_object(uri: str, limit: int, listed: int | None) -> bytes:
    if scheme(uri) not in OBJECT_STORES:
        raise ImageError(UNSUPPORTED, f"{scheme(uri)}:// addresses are not supported")
    try:
        fs, path = split(uri)
    except OutageError:
        raise
    except StoreError as error:  # a driver may be installed until the next night
        raise ImageError(UNSUPPORTED if holds_credentials(uri) else MISSING, str(error)) from error

    def read() -> bytes:
        try:
            data = bytes(fs.cat_file(path, start=0, end=limit + 1))
        except (FileNotFoundError, PermissionError):
            raise
        except storage_exceptions() as error:
            if not is_transient(error) and fs.info(path)["size"] == 0:  # S3 answers a range of an empty object with an error
                return b""
            raise
        if listed is not None and len(data) < min(listed, limit + 1):
            _check_whole(data, min(fs.info(path)["size"], limit + 1))  # it may have been replaced since it was listed
        return data

    try:
        return IMAGE_RETRY.call(read)
    except storage_exceptions() as error:
        if is_transient(error) and _answers(fs, path):
            raise StoreError(f"cannot read {uri}: {error_text(error)}") from error
        raise


def _answers(fs: AbstractFileSystem, path: str) -> bool:
    """Whether a storage answers a request about the bucket of a path, also with a refusal: then the failure concerns that path alone."""
    try:
        fs.info(f"{'/' * path.startswith('/')}{path.strip('/').partition('/')[0]}")
    except storage_exceptions() as error:
        return not is_transient(error)
    return True


def _check_whole(data: bytes, size: int) -> None:
    if len(data) != size:
        raise ConnectionError(errno.ECONNRESET, f"{len(data):,} of {size:,} bytes were received")
