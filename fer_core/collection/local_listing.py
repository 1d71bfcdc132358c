"""Listing of a local disk: folders walked to the bottom, patterns expanded, unreadable folders reported.

Links to files are listed under their own path, broken ones too. A folder behind a link is walked like any other, under the link's path,
if it lies in the real folder that the walk began in; else only where links may be followed out of it. No folder is walked twice: folders
that are reached without links come first, so loops end, and a link to a folder that was walked already is counted and not listed. A folder
that cannot be listed is listed as itself: it becomes a row with the reason. Pipes, sockets and devices are skipped, and folders of
`system_files` are not entered. `name_filter` judges the names.

A folder that is replaced by a link during the walk is not entered through it: folders are opened without following links, and the target
of a link is checked again once it is open. Listed files are read later by their path, through the links of that time.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from fer_core.collection.name_filter import MAGIC, NOTHING, NameFilter, matches
from fer_core.storage.system_files import is_system_file, is_system_path


class ListedFile(NamedTuple):
    """One listed file."""

    path: str
    """Local path as the operating system gives it, or the URI of an object."""
    size: int | None = None
    """Bytes, behind links; None for what is not there or is no file."""
    modified_us: int | None = None
    """Microseconds since the epoch, UTC."""
    etag: str | None = None
    whole: bool = True
    """False for a folder that could not be listed."""


def stat_file(path: str) -> ListedFile:
    """One path as it is now, without opening it."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # absent, a broken link, not permitted, or no possible name: reading it gives the reason
        return ListedFile(path)
    return _listed(path, status)


class FolderLinks:
    """Folders that a walk may enter, and those that it left out."""

    def __init__(self, follow: bool = False, names: NameFilter | None = None) -> None:
        """follow: also to folders that are not inside the one where the walk began. names: which names are listed; all if None."""
        self.follow, self.names = follow, names or NameFilter("", NOTHING)
        self.left_out: list[str] = []
        """Folders that were not entered, by the path of the link."""

    def enter(self, folder: str, inside: str) -> bool:
        """Whether to walk a folder that is reached through a link, or may be. inside: the real path where the walk began."""
        real = os.path.realpath(folder)
        return self.names.enters_link(folder, real, inside) and self._judge(folder, real, inside)

    def stay(self, folder: str, handle: int, inside: str) -> bool:
        """The same for an open folder, wherever its path leads by now."""
        status, real = os.fstat(handle), _real_path(handle, folder)
        return self._judge(folder, real, inside) and (not is_system_file(real, status) or self._leave_out(folder))

    def _judge(self, folder: str, real: str, inside: str) -> bool:
        within = real == inside or real.startswith(f"{inside.rstrip('/')}/")
        return ((within or self.follow) and not is_system_path(real)) or self._leave_out(folder)

    def _leave_out(self, folder: str) -> bool:
        self.left_out.append(folder)
        return False


def walk(root: str, links: FolderLinks, inside: str | None = None) -> Iterator[ListedFile]:
    """Every file and link below a folder that its name does not leave out, in no order. OSError when the folder itself cannot be listed.

    inside: the real path that links must not leave; the folder's own if None.
    """
    return (found for found in _walked(root, links, os.path.realpath(root) if inside is None else inside) if _is_taken(found, links))


def _is_taken(found: ListedFile, links: FolderLinks) -> bool:
    return not found.whole or links.names.takes(found.path)


def _walked(root: str, links: FolderLinks, inside: str) -> Iterator[ListedFile]:
    seen: set[tuple[int, int]] = set()
    os.scandir(root).close()
    tops = [root]
    while tops:
        behind_links: list[str] = []
        for top in tops:
            if top != root and not links.enter(top, inside):
                continue
            if _was_walked(top, seen):
                links.names.leave_link(top)
            else:
                yield from _tree(top, seen, behind_links, links, inside)
        tops = sorted(behind_links)


def expand(base: str, parts: Sequence[str], links: FolderLinks, inside: str | None = None) -> Iterator[ListedFile]:
    """The files and links that a pattern names.

    base: an existing folder. parts: the pattern below it, one name each; `*`, `?` and `[...]` match inside a name, also at its start when
    it is hidden; `**` matches any number of folders, at the end everything below. Folders that match are not entered. inside: see `walk`.
    """
    inside = os.path.realpath(base) if inside is None else inside
    if parts[0] == "**":
        for found in _walked(base, links, inside):
            named = not found.whole or matches(found.path[len(base.rstrip("/")) + 1 :].split("/"), parts)
            if named and _is_taken(found, links):
                yield found
        return
    for path in _named(base, parts[0]):
        if path is None:
            yield ListedFile(base, whole=False)
        elif len(parts) == 1:
            yield from (found for found in _file(path) if _is_taken(found, links))
        elif os.path.isdir(path) and links.enter(path, inside):
            yield from expand(path, parts[1:], links, inside)


def _tree(top: str, seen: set[tuple[int, int]], behind_links: list[str], links: FolderLinks, inside: str) -> Iterator[ListedFile]:
    folders = [top]
    while folders:
        folder = folders.pop()
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (0 if folder == top else os.O_NOFOLLOW))
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR} and os.path.islink(folder):  # since it was found
                behind_links.append(folder)
            else:
                yield ListedFile(folder, whole=False)
            continue
        try:
            status = os.fstat(handle)
            if (status.st_dev, status.st_ino) in seen or not links.stay(folder, handle, inside):
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(handle) as entries:
                for entry in entries:
                    path = f"{folder.rstrip('/')}/{entry.name}"
                    if entry.is_dir(follow_symlinks=False):
                        folders += [path] if links.names.enters(path) else []
                    elif entry.is_symlink() and os.path.isdir(path):
                        behind_links.append(path)
                    elif entry.is_symlink():
                        yield stat_file(path)
                    elif entry.is_file(follow_symlinks=False):
                        yield _entry(entry, path)
        except OSError:
            yield ListedFile(folder, whole=False)
        finally:
            os.close(handle)


def _real_path(handle: int, folder: str) -> str:
    """Real path of an open folder. folder: the path by which it was opened, for systems without that information."""
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return os.path.realpath(folder)


def _entry(entry: "os.DirEntry[str]", path: str) -> ListedFile:
    try:
        return _listed(path, entry.stat(follow_symlinks=False))
    except OSError:
        return ListedFile(path)


def _listed(path: str, status: os.stat_result) -> ListedFile:
    if not stat.S_ISREG(status.st_mode):
        return ListedFile(path)
    return ListedFile(path, status.st_size, status.st_mtime_ns // 1000)


def _was_walked(folder: str, seen: set[tuple[int, int]]) -> bool:
    try:
        return _identity(folder) in seen
    except OSError:  # gone since it was found; walking it reports that
        return False


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _named(base: str, part: str) -> Iterator[str | None]:
    """Paths below a folder whose name matches; None where the folder cannot be listed."""
    if MAGIC.isdisjoint(part):
        path = os.path.join(base, part)
        if os.path.lexists(path):
            yield path
        return
    try:
        names = os.listdir(base)
    except OSError:
        yield None
        return
    yield from (os.path.join(base, name) for name in names if fnmatchcase(name, part))


def _file(path: str) -> Iterator[ListedFile]:
    """A regular file or a link that leads to no folder."""
    found = stat_file(path)
    if found.size is not None or (os.path.islink(path) and not os.path.isdir(path)):
        yield found
