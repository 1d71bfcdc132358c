"""Files and folders of a local disk: replaced in one step, listed, removed."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from fer_core.storage.file_mode import OWNER, FileMode, make_file, make_folders

REMOVALS: Final = 20
"""Times that a folder is emptied while another process writes there. Each pass meets the files that are written in about a millisecond."""


def replace_file(full: str, data: bytes, mode: FileMode = OWNER) -> None:
    """Create or replace a file in one step. Like all here it raises OSError."""
    with replacing(full, mode) as unfinished, open(unfinished, "wb") as stream:
        stream.write(data)


@contextmanager
def replacing(full: str, mode: FileMode = OWNER) -> Iterator[str]:
    """A new, empty file for the block to fill, which becomes the file at `full` when the block ends.

    Temporary file in the same folder, fsync, rename, fsync of the folder: after a power cut the file is whole or as before.
    """
    folder, name = os.path.split(full)
    make_folders(folder or ".", mode)
    unfinished = os.path.join(folder, f".{name}.{secrets.token_hex(8)}.tmp")
    try:
        make_file(unfinished, mode)
        yield unfinished
        with open(unfinished, "rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(unfinished, full)
    except BaseException:  # also KeyboardInterrupt: no temporary file is left, and the error is raised again
        with suppress(FileNotFoundError):
            os.unlink(unfinished)
        raise
    sync_folder(folder or ".")


def sync_folder(folder: str) -> None:
    """Let the names in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def files_below(full: str) -> Iterator[str]:
    """A file itself, or every file below a folder; nothing where there is neither."""
    if os.path.isfile(full):
        yield full
        return
    for folder, _, names in os.walk(full, onerror=_unless_absent):
        yield from (f"{folder.rstrip('/')}/{name}" for name in names)


def moments_below(full: str) -> Iterator[float]:
    """When each of these files was written, in seconds since the epoch."""
    for path in files_below(full):
        with suppress(FileNotFoundError):  # removed since it was listed
            yield os.stat(path).st_mtime


def remove_folder(full: str) -> None:
    """Delete a folder with all that is below; nothing happens where it is absent.

    A worker that another one has overtaken may still write there, or finish a file under another name: then what came is deleted, too.
    """
    for left in reversed(range(REMOVALS)):
        try:
            shutil.rmtree(full)
        except OSError as error:
            if not os.path.lexists(full):
                return
            if left == 0 or error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise
        else:
            return


def _unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
