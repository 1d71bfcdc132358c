"""Permissions of files on a disk: for their owner alone, and in a shared labels root for its group as well.

Files are made here or in `local`. Files that libraries make (a database, a model, a plot) get their mode from the umask of the process,
which `private_process` sets for each command and for all processes that it starts.
"""

import errno
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

UMASK: Final = 0o077
MARK: Final = "_meta"
"""The folder of a labels root whose mode says whether the root is shared: `paths.META`, which every writer creates."""


@dataclass(frozen=True, slots=True)
class FileMode:
    """Permissions of new files and folders."""

    name: str
    file: int
    folder: int


OWNER: Final = FileMode("owner", 0o600, 0o700)
GROUP: Final = FileMode("group", 0o660, 0o770)
BY_NAME: Final = {mode.name: mode for mode in (OWNER, GROUP)}


def private_process() -> None:
    """From now on, only the owner can read new files of this process and of those it starts, unless a mode is given."""
    os.umask(UMASK)


def mode_of(root: str) -> FileMode:
    """Mode of files below a local folder. `GROUP` only where `settle` has set it."""
    try:
        return GROUP if os.stat(f"{root}/{MARK}").st_mode & UMASK == GROUP.folder & UMASK else OWNER
    except OSError:
        return OWNER


def settle(root: str, mode: FileMode) -> None:
    """Make a labels root whose files have this mode, or set it on all files and folders of an existing one. Raises OSError.

    An existing root folder keeps its mode. Its mark comes last: after an interruption the rest is done again.
    """
    make_folders(root, mode)
    mark = f"{root}/{MARK}"
    if os.path.isdir(mark) and stat.S_IMODE(os.stat(mark).st_mode) & 0o777 == mode.folder:
        return
    for folder, folders, files in os.walk(root):
        for name in files:
            os.chmod(f"{folder}/{name}", mode.file)
        for name in folders:
            if f"{folder}/{name}" != mark:
                _set_folder(f"{folder}/{name}", mode)
    make_folders(mark, mode)
    _set_folder(mark, mode)


def make_folders(path: str, mode: FileMode) -> None:
    """The folder and those above it that are missing, each with this mode. Those that are there keep theirs. Raises OSError."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if parent != path:
        make_folders(parent or ".", mode)
    try:
        os.mkdir(path, mode.folder)
    except FileExistsError as error:
        if not os.path.isdir(path):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from error
    else:
        if mode is not OWNER:
            _set_folder(path, mode)


def make_file(path: str, mode: FileMode) -> None:
    """A new, empty file with this mode. Raises OSError, also where there is one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode.file)
    try:
        if mode is not OWNER:
            os.fchmod(handle, mode.file)  # the umask may have removed bits
    finally:
        os.close(handle)


def open_to_others(root: str) -> str | None:
    """A warning for an existing labels root whose folder has wider permissions than its files' mode."""
    mode = mode_of(root)
    try:
        found = stat.S_IMODE(os.stat(root).st_mode)
    except OSError:
        return None
    if found & UMASK & ~mode.folder:
        who = "every user of this machine" if found & 0o007 else "its group"
        return f"{root} is open to {who} (mode {found:04o}); its files will not be: chmod {mode.folder:o} {root}"
    if mode is GROUP and found & GROUP.folder != GROUP.folder:
        return f"the group cannot write to {root} (mode {found:04o}): chmod g+rwxs {root}"
    return None


def temporary_folder() -> str:
    """This user's own folder for temporary files whose names others could guess, made on first use."""
    path = os.path.join(tempfile.gettempdir(), f"ferflow-{os.getuid()}")
    with suppress(FileExistsError):
        os.mkdir(path, OWNER.folder)
    found = os.lstat(path)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & UMASK:
        return path
    return tempfile.mkdtemp(prefix="ferflow-")  # another user owns the existing one


def _set_folder(path: str, mode: FileMode) -> None:
    """Keeps setgid, by which new files inside belong to the folder's group."""
    os.chmod(path, mode.folder | os.stat(path).st_mode & stat.S_ISGID)
