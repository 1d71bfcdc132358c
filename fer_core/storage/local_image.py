"""One image on a local disk. Pipes, sockets, devices and virtual files of the system are never opened, so a read never blocks on them."""

import errno
import os
import stat

from fer_core.errors import ImageError
from fer_core.storage.system_files import SAID, is_system_file
from fer_core.storage.uri import error_text
from fer_core.tables.schema import MISSING, TOO_LARGE, UNSUPPORTED


def read_local(path: str, limit: int) -> bytes:
    """The bytes of a regular file, perhaps behind links. OSError, or ImageError with status `missing`, `too_large` or `unsupported`.

    limit: most bytes to read; somewhat more come where there are more.
    """
    seen = _regular(path)
    # non-blocking: should the file have become a pipe since it was checked, opening must not wait for a writer
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not os.path.samestat(seen, status):  # replaced since it was checked
            _check_kind(path, status)
        size = status.st_size
        if size > limit:
            raise too_large(limit)
        data = stream.read(size + 1)
        # the file grew while it was read, or its size is reported as 0
        return data if len(data) <= size else data + stream.read(limit)


def _regular(path: str) -> os.stat_result:
    """A regular file, perhaps behind links; ImageError where it is something else."""
    try:
        status = os.stat(path)
    except ValueError as error:
        raise ImageError(MISSING, "no file can have this name") from error
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENAMETOOLONG}:
            raise ImageError(MISSING, f"the file is not there ({error_text(error).lower()})") from error
        raise
    _check_kind(path, status)
    return status


def _check_kind(path: str, status: os.stat_result) -> None:
    if is_system_file(path, status):
        raise ImageError(UNSUPPORTED, SAID)
    if stat.S_ISDIR(status.st_mode):
        os.scandir(path).close()  # a folder is in the inventory where it could not be listed; PermissionError when it still cannot
        raise ImageError(UNSUPPORTED, "a folder, not an image")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(UNSUPPORTED, "a pipe, socket or device, not an image")


def too_large(limit: int) -> ImageError:
    """For an image of more bytes than that."""
    return ImageError(TOO_LARGE, f"more than {limit:,} bytes")
